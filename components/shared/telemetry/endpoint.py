"""A client of the V1 endpoint that checks golden requests."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from components.shared.errors import ServingError
from components.shared.release.golden import TOLERANCE, Golden


def _no_output() -> str:
    return "see the predictor's log"


@dataclass(frozen=True)
class Endpoint:
    """One model of a running predictor.

    Attributes:
        client: with the predictor's address as base URL. model: name in the URLs.
        error_details: callable with details for errors, such as the end of the predictor's log.
    """

    client: httpx.Client
    model: str = "shoprank"
    error_details: Callable[[], str] = _no_output

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send one serving request (serving/protocol.py) and return the answer.

        Raises:
            ServingError: the predictor does not answer, or the response is invalid.
        """
        try:
            response = self.client.post(f"/v1/models/{self.model}:predict", json={"instances": [request]})
        except httpx.RequestError as error:
            raise ServingError(f"the predictor at {self.client.base_url} does not answer: {error!r}",
                               self.error_details()) from error  # fmt: skip
        if response.status_code != 200:
            raise ServingError(
                f"the predictor answered {response.status_code}: {response.text[:500]}", self.error_details()
            )
        return self._prediction(response)

    def _prediction(self, response: httpx.Response) -> dict[str, Any]:
        try:
            answer = response.json()["predictions"][0]
            version, items = answer["model_version"], [(one["item_id"], one["score"] + 0.0) for one in answer["items"]]
        except (ValueError, LookupError, TypeError) as error:
            raise ServingError(f"the predictor's response is not in V1 format: {response.text[:500]}",
                               self.error_details()) from error  # fmt: skip
        if not isinstance(version, str) or not all(isinstance(item, str) for item, _ in items):
            raise ServingError(
                f"the predictor's response has unexpected types: {response.text[:500]}", self.error_details()
            )
        return answer

    def version(self) -> str:
        """Return the version of the served bundle.

        Raises:
            ServingError: the predictor does not answer.
        """
        return self.answer({"k": 1})["model_version"]

    def wait_for_version(self, version: str, seconds: float) -> None:
        """Wait until this version answers, or the time is over.

        An address follows its pods within seconds: until then it may refuse connections, or lead to ending pods.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(ServingError):
                if self.version() == version:
                    return
            time.sleep(0.5)

    def replay(
        self, golden: Sequence[Golden], tolerance: float = TOLERANCE, now: int | None = None, version: str = ""
    ) -> float:
        """Send all golden requests and compare the answers.

        Args:
            golden: Golden requests of the expected bundle.
            tolerance: Maximum difference of a score.
            now: Time of the golden answers, epoch seconds; needed if the predictor uses the system clock.
            version: Expected version; '' accepts any.

        Returns:
            The largest difference of a score.

        Raises:
            ServingError: a request fails, or its answer or version differs; names the first such request.
        """
        worst = 0.0
        for position, one in enumerate(golden, 1):
            context = {} if now is None else {"context": {**one.request.get("context", {}), "timestamp": now}}
            answer = self.answer({**one.request, **context})
            if version and answer["model_version"] != version:
                raise ServingError(
                    f"{self.client.base_url} is served by version {answer['model_version']}, not {version}",
                    "check which version the service runs and whether its pods are ready",
                )
            scores = [item["score"] for item in answer["items"]]
            found = one.difference([item["item_id"] for item in answer["items"]], scores, tolerance)
            if found:
                raise ServingError(
                    f"golden request {position} of {len(golden)} has a different answer: {found}",
                    f"compile the model again; the request: {str(one.request)[:300]}",
                )
            worst = max([worst, *(abs(a - b) for a, b in zip(scores, one.scores, strict=True))])
        return worst


@contextlib.contextmanager
def endpoint(url: str, model: str = "shoprank", host: str = "", timeout_s: float = 10.0) -> Iterator[Endpoint]:
    """Open a connection to a predictor.

    Args:
        url: Its address, without path.
        model: Model name in the URLs.
        host: Host header, if a gateway routes by it; '' uses that of the URL.
        timeout_s: Timeout of a request.
    """
    headers = {"host": host} if host else {}
    # Do not send requests inside a cluster or to loopback through proxies of the environment.
    with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=timeout_s) as client:
        yield Endpoint(client, model)
