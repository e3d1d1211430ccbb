"""Sends copies of live requests to a candidate in the background and compares its answers, which are never returned.

A slow, failing or absent candidate does not affect live requests: copies wait in a bounded queue or are dropped.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from components.shared.errors import InputError, ServingError
from components.shared.telemetry.endpoint import Endpoint
from components.shared.telemetry.inference_log import Compared
from serving.answers import Answer
from serving.metrics import SHADOW, SHADOW_DRIFT, SHADOW_OVERLAP, SHADOW_SECONDS
from serving.protocol import Instance

HEADER = "x-shoprank-shadow"
"""Header that marks a copy, so that the candidate counts it separately from live traffic."""

_FIRST = 10


@dataclass(frozen=True, kw_only=True)
class ShadowConfig:
    """Configuration of the shadow."""

    url: str
    """Address of the candidate's predictor."""
    model: str = "shoprank"
    """Model name in its URLs."""
    waiting: int = 64
    """Maximum number of waiting copies; further ones are dropped."""
    timeout_s: float = 5.0
    """Timeout of one copy."""
    key: str = field(default="", repr=False)
    """Key of the candidate; '' sends none."""
    pause_s: float = 5.0
    """Seconds before an unreachable candidate is tried again."""

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise InputError(
                f"--shadow_url is '{self.url}'", "give an address such as http://shoprank-candidate-predictor"
            )


class Shadow:
    """Sends copies in a background thread.

    Args:
        config: Candidate and limits.
        record: Called with every comparison.
    """

    def __init__(self, config: ShadowConfig, record: Callable[[Compared], None]):
        self._config, self._record = config, record
        self._waiting: queue.Queue[tuple[Instance, Answer] | None] = queue.Queue(config.waiting)
        self._absent_until = 0.0
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._thread.start()

    def send(self, instance: Instance, answer: Answer) -> None:
        """Enqueue an instance with its answer; never blocks."""
        if time.monotonic() < self._absent_until:
            SHADOW.labels("absent").inc()
            return
        try:
            self._waiting.put_nowait((instance, answer))
        except queue.Full:
            SHADOW.labels("dropped").inc()

    def close(self) -> None:
        """Process waiting copies as time allows, then stop."""
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=self._config.timeout_s)
        self._thread.join(self._config.timeout_s)

    def _run(self) -> None:
        key = {"authorization": f"Bearer {self._config.key}"} if self._config.key else {}
        with httpx.Client(
            base_url=self._config.url, trust_env=False, timeout=self._config.timeout_s, headers={HEADER: "1", **key}
        ) as client:
            while (waiting := self._waiting.get()) is not None:
                self._compare(client, *waiting)

    def _compare(self, client: httpx.Client, instance: Instance, answer: Answer) -> None:
        client.headers["x-request-id"] = answer.request_id
        started = time.perf_counter()
        try:
            other = Endpoint(client, self._config.model).answer(instance.model_dump(mode="json", exclude_unset=True))
        except ServingError as error:
            if isinstance(error.__cause__, httpx.ConnectError):
                self._absent_until = time.monotonic() + self._config.pause_s
                SHADOW.labels("absent").inc()
            else:
                SHADOW.labels("error").inc()
            return
        seconds = time.perf_counter() - started
        if other["model_version"] == answer.model_version:
            # Champion and candidate have the same arguments: a candidate must not be compared with itself.
            self._absent_until = time.monotonic() + self._config.pause_s
            SHADOW.labels("same").inc()
            return
        theirs = {item["item_id"]: item["score"] for item in other["items"]}
        compared = Compared(
            time=time.time(), request_id=answer.request_id, version=answer.model_version,
            candidate=other["model_version"], overlap=overlap([item.item_id for item in answer.items], list(theirs)),
            drift=_drift({item.item_id: item.score for item in answer.items}, theirs), seconds=seconds,
        )  # fmt: skip
        SHADOW.labels("compared").inc()
        SHADOW_OVERLAP.labels(compared.candidate).observe(compared.overlap)
        SHADOW_DRIFT.labels(compared.candidate).observe(compared.drift)
        SHADOW_SECONDS.labels(compared.candidate).observe(seconds)
        self._record(compared)


def overlap(ours: list[str], theirs: list[str], first: int = _FIRST) -> float:
    """Share of the first ten items common to both lists; 1 for two empty lists."""
    longest = max(len(ours[:first]), len(theirs[:first]))
    return len(set(ours[:first]) & set(theirs[:first])) / longest if longest else 1.0


def _drift(ours: dict[str, float], theirs: dict[str, float]) -> float:
    both = ours.keys() & theirs.keys()
    return sum(abs(ours[item] - theirs[item]) for item in both) / len(both) if both else 0.0
