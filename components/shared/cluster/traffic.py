"""Traffic split between champion and candidate: what KServe's two modes have in common (standard.py, knative.py).

Methods are idempotent: after a crash, calling one again resumes from the current state.
"""

from dataclasses import dataclass
from typing import Protocol

from components.shared.cluster.inference_service import ServiceSpec


class Traffic(Protocol):
    """A service whose traffic can be split between a champion and a candidate."""

    def champion(self) -> str:
        """Version of the stable predictor."""
        ...

    def candidate(self) -> str:
        """Version of the candidate, '' if there is none."""
        ...

    def percent(self) -> int:
        """Percentage of live traffic that the candidate gets."""
        ...

    def launch(self, version: str) -> None:
        """Start `version` as the candidate at 0 % and wait until it is ready."""
        ...

    def urls(self) -> tuple[str, str]:
        """Separate addresses of the champion and the candidate."""
        ...

    def ready(self) -> bool:
        """Whether the candidate's pods are up; failures of requests without a pod appear in no metrics."""
        ...

    def shift(self, percent: int) -> None:
        """Set the candidate's percentage of live traffic."""
        ...

    def promote(self) -> None:
        """Make the candidate the stable version with all traffic, without downtime."""
        ...

    def abort(self) -> None:
        """Return all traffic to the champion, then remove the candidate."""
        ...


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Settings for reaching and splitting the traffic of a service."""

    service: ServiceSpec
    """The InferenceService."""
    gateway: str = ""
    """Gateway of the HTTPRoute that splits traffic in Standard mode; KServe 0.20 splits none itself."""
    ready_s: float = 600.0
    """Timeout for a predictor to become ready, in seconds."""
    champion_url: str = ""
    """Address of the champion from outside the cluster; '' uses the address inside."""
    candidate_url: str = ""
    """The same for the candidate."""
