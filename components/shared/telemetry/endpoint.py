"""A predictor behind a URL, asked over its V1 endpoint: golden requests must be answered as the trained model did."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from components.shared.errors import ServingError
from components.shared.release.golden import TOLERANCE, Golden


def _no_words() -> str:
    return "see the predictor's log"


@dataclass(frozen=True)
class Endpoint:
    """One model of a running predictor.

    Attributes:
        client: with the predictor's address as its base. model: name in the URLs.
        last_words: what to tell when an answer fails, such as the end of the predictor's log.
    """

    client: httpx.Client
    model: str = "shoprank"
    last_words: Callable[[], str] = _no_words

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one serving request (serving/protocol.py).

        Raises:
            ServingError: nothing answers, or it is no answer.
        """
        try:
            said = self.client.post(f"/v1/models/{self.model}:predict", json={"instances": [request]})
        except httpx.RequestError as error:
            raise ServingError(f"the predictor at {self.client.base_url} does not answer: {error!r}",
                               self.last_words()) from error  # fmt: skip
        if said.status_code != 200:
            raise ServingError(f"the predictor answered {said.status_code}: {said.text[:500]}", self.last_words())
        return self._prediction(said)

    def _prediction(self, said: httpx.Response) -> dict[str, Any]:
        try:
            answer = said.json()["predictions"][0]
            version, items = answer["model_version"], [(one["item_id"], one["score"] + 0.0) for one in answer["items"]]
        except (ValueError, LookupError, TypeError) as error:
            raise ServingError(f"the predictor's answer is not of the V1 form: {said.text[:500]}",
                               self.last_words()) from error  # fmt: skip
        if not isinstance(version, str) or not all(isinstance(item, str) for item, _ in items):
            raise ServingError(f"the predictor's answer has other types: {said.text[:500]}", self.last_words())
        return answer

    def version(self) -> str:
        """Version of the bundle that answers now.

        Raises:
            ServingError: nothing answers.
        """
        return self.answer({"k": 1})["model_version"]

    def replay(
        self, golden: Sequence[Golden], tolerance: float = TOLERANCE, now: int | None = None, version: str = ""
    ) -> float:
        """Ask every golden request; every answer must be the golden one.

        Args:
            golden: Of the bundle that must answer.
            tolerance: Largest difference of a score.
            now: Epoch seconds that the golden answers were made at; needed where the predictor's clock is the system's.
            version: Who must answer; '' does not ask.

        Returns:
            The largest difference of a score.

        Raises:
            ServingError: names the first golden request that is answered otherwise, or by another version.
        """
        worst = 0.0
        for position, one in enumerate(golden, 1):
            moment = {} if now is None else {"context": {**one.request.get("context", {}), "timestamp": now}}
            answer = self.answer({**one.request, **moment})
            if version and answer["model_version"] != version:
                raise ServingError(
                    f"{self.client.base_url} is answered by {answer['model_version']}, not by {version}",
                    "see which version the service runs and whether its pods are ready",
                )
            scores = [item["score"] for item in answer["items"]]
            found = one.difference([item["item_id"] for item in answer["items"]], scores, tolerance)
            if found:
                raise ServingError(
                    f"golden request {position} of {len(golden)} is answered otherwise: {found}",
                    f"compile the model again; the request: {str(one.request)[:300]}",
                )
            worst = max([worst, *(abs(a - b) for a, b in zip(scores, one.scores, strict=True))])
        return worst


@contextlib.contextmanager
def endpoint(url: str, model: str = "shoprank", host: str = "", timeout_s: float = 10.0) -> Iterator[Endpoint]:
    """Open a connection to a predictor.

    Args:
        url: Its address, without path.
        model: Name in the URLs.
        host: Host header, where a gateway routes by it; '' is the address's own.
        timeout_s: Of one answer.
    """
    headers = {"host": host} if host else {}
    # Proxies of the environment must not see a request inside a cluster or on loopback.
    with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=timeout_s) as client:
        yield Endpoint(client, model)
