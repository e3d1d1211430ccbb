"""Options of a guarded rollout: steps of live traffic, source of metrics, limits."""

import itertools
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from components.rollout_model.guards import GuardConfig
from components.shared.errors import InputError
from components.shared.options import Count, Limit, Options, refused

STRATEGIES = ("direct", "guarded")
"""Deploy at once, or roll out step by step."""

Percentage = Annotated[int, Field(ge=1, le=100)]


class RolloutSchedule(Options):
    """Steps and limits of a rollout."""

    steps: Annotated[tuple[Percentage, ...], Field(min_length=1)] = (5, 25, 50, 100)
    """Increasing percentages of live traffic, ending with 100."""
    guards: GuardConfig = GuardConfig()
    """Limits of the guards."""
    poll_s: Limit = 15.0
    """Seconds between two observations."""
    unready_looks: Count = 3
    """Consecutive observations with unready candidate pods that cause a rollback; no metric counts these failures."""

    @model_validator(mode="after")
    def _steps_rise_to_100(self) -> Self:
        if self.steps[-1] != 100 or not all(a < b for a, b in itertools.pairwise(self.steps)):
            raise refused(f"steps are {list(self.steps)}", "give increasing percentages from 1 to 100, ending with 100")
        return self


class RolloutPlan(RolloutSchedule):
    """The schedule of one service."""

    model: str = "shoprank"
    """Name in the predictor's URLs."""


class RolloutOptions(RolloutSchedule):
    """Options of a guarded rollout (strategy=guarded)."""

    evidence: str = ""
    """Address of a Prometheus server that scrapes the predictors, or the folder of their inference log."""
    events: str = ""
    """Folder of the shop's events with request_id, for guards on clicks and purchases; requires an inference log.
    Empty: no such guards."""
    gateway: str = ""
    """Gateway of the HTTPRoute that splits traffic; needed in Standard mode, where KServe 0.20 splits none itself."""
    ready_s: Limit = 600.0
    """Timeout for a predictor to become ready, in seconds."""
    decide_in: Literal["job", "step"] = "job"
    """Where decisions are made on a cluster: in a Job, which outlives the pipeline's pod, or in the step itself.
    Outside a cluster always in the step."""

    def plan(self, service: str) -> RolloutPlan:
        """Return the schedule for a service."""
        return RolloutPlan(
            steps=self.steps, guards=self.guards, poll_s=self.poll_s, unready_looks=self.unready_looks, model=service
        )  # fmt: skip

    def check(self, strategy: str, mode: str) -> None:
        """Validate what a guarded rollout needs without accessing it; `direct` needs none of it.

        Args:
            strategy: One of STRATEGIES.
            mode: KServe's deployment mode of the service.

        Raises:
            InputError: the strategy does not exist, nothing splits the traffic, or see check_evidence.
        """
        if strategy not in STRATEGIES:
            raise InputError(f"strategy is '{strategy}'", f"use one of: {', '.join(STRATEGIES)}")
        if strategy == "direct":
            return
        self.check_evidence()
        if mode == "Standard" and not self.gateway:
            raise InputError(
                "rollout.gateway is empty, but KServe 0.20 does not split traffic in Standard mode",
                "give the name of a Gateway in the namespace of the service (manifests/components/gateway makes one)",
            )

    def check_evidence(self) -> None:
        """Validate the sources of evidence without accessing them.

        Raises:
            InputError: evidence is empty, or events are given without an inference log.
        """
        if not self.evidence:
            raise InputError("rollout.evidence is empty, but strategy is guarded",
                             "give a Prometheus server (http://...) or the folder of an inference log")  # fmt: skip
        if self.events and self.evidence.startswith(("http://", "https://")):
            raise InputError(
                "rollout.events is given without an inference log",
                "set rollout.evidence to the folder of the inference log",
            )
