"""A candidate answers copies of live requests, off their path; its answers are compared and never returned.

A candidate that is slow, wrong or absent costs live requests nothing: copies wait in a bounded queue and are dropped.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from components.shared.errors import InputError, ServingError
from components.shared.telemetry.endpoint import Endpoint
from components.shared.telemetry.inference_log import Compared
from serving.metrics import SHADOW, SHADOW_DRIFT, SHADOW_OVERLAP, SHADOW_SECONDS
from serving.protocol import Answer, Ask

HEADER = "x-shoprank-shadow"
"""Marks a copy, so that the candidate counts it apart from live traffic."""

_FIRST = 10


@dataclass(frozen=True, kw_only=True)
class ShadowConfig:
    """Where copies go."""

    url: str
    """Address of the candidate's predictor."""
    model: str = "shoprank"
    """Name in its URLs."""
    waiting: int = 64
    """Copies that may wait; more are dropped."""
    timeout_s: float = 5.0
    """Of one copy."""
    pause_s: float = 5.0
    """How long an absent candidate is left alone."""

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise InputError(
                f"--shadow_url is '{self.url}'", "give an address such as http://shoprank-candidate-predictor"
            )


class Shadow:
    """Sends copies in one thread of its own.

    Args:
        config: Where to.
        record: Gets every comparison.
    """

    def __init__(self, config: ShadowConfig, record: Callable[[Compared], None]):
        self._config, self._record = config, record
        self._waiting: queue.Queue[tuple[Ask, Answer] | None] = queue.Queue(config.waiting)
        self._absent_until = 0.0
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._thread.start()

    def send(self, ask: Ask, answer: Answer) -> None:
        """Hand over a question with the answer that was given; never waits."""
        if time.monotonic() < self._absent_until:
            SHADOW.labels("absent").inc()
            return
        try:
            self._waiting.put_nowait((ask, answer))
        except queue.Full:
            SHADOW.labels("dropped").inc()

    def close(self) -> None:
        """Compare what waits, as far as there is time for it, and end."""
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=self._config.timeout_s)
        self._thread.join(self._config.timeout_s)

    def _run(self) -> None:
        with httpx.Client(
            base_url=self._config.url, trust_env=False, timeout=self._config.timeout_s, headers={HEADER: "1"}
        ) as client:
            while (waiting := self._waiting.get()) is not None:
                self._compare(client, *waiting)

    def _compare(self, client: httpx.Client, ask: Ask, answer: Answer) -> None:
        client.headers["x-request-id"] = answer.request_id
        started = time.perf_counter()
        try:
            other = Endpoint(client, self._config.model).answer(ask.model_dump(mode="json", exclude_unset=True))
        except ServingError as error:
            if isinstance(error.__cause__, httpx.ConnectError):
                self._absent_until = time.monotonic() + self._config.pause_s
                SHADOW.labels("absent").inc()
            else:
                SHADOW.labels("error").inc()
            return
        seconds = time.perf_counter() - started
        if other["model_version"] == answer.model_version:
            # Champion and candidate run with the same words: a candidate must not be compared with itself.
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
    """Share of the first ten items that both lists hold; two empty lists agree."""
    longest = max(len(ours[:first]), len(theirs[:first]))
    return len(set(ours[:first]) & set(theirs[:first])) / longest if longest else 1.0


def _drift(ours: dict[str, float], theirs: dict[str, float]) -> float:
    both = ours.keys() & theirs.keys()
    return sum(abs(ours[item] - theirs[item]) for item in both) / len(both) if both else 0.0
