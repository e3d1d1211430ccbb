"""Options of a guarded rollout: the steps of live traffic, what is measured and where, the limits."""

import itertools
from typing import Annotated, Self

from pydantic import Field, model_validator

from components.rollout_model.guards import GuardConfig
from components.shared.errors import InputError
from components.shared.options import Count, Limit, Options, refused

Percentage = Annotated[int, Field(ge=1, le=100)]


class RolloutSchedule(Options):
    """How a candidate meets live traffic."""

    steps: Annotated[tuple[Percentage, ...], Field(min_length=1)] = (5, 25, 50, 100)
    """Percentages of live traffic, rising, the last one 100."""
    guards: GuardConfig = GuardConfig()
    """Limits."""
    poll_s: Limit = 15.0
    """Seconds between two looks."""
    unready_looks: Count = 3
    """Looks in a row at which the candidate's pods may be down; requests that reach no pod are counted by nobody."""

    @model_validator(mode="after")
    def _steps_rise_to_100(self) -> Self:
        if self.steps[-1] != 100 or not all(a < b for a, b in itertools.pairwise(self.steps)):
            raise refused(f"steps are {list(self.steps)}", "give rising percentages from 1 that end with 100")
        return self


class RolloutPlan(RolloutSchedule):
    """The schedule of one service."""

    model: str = "shoprank"
    """Name in the predictor's URLs."""


class RolloutOptions(RolloutSchedule):
    """How a version is brought to live traffic when `strategy` is guarded."""

    evidence: str = ""
    """Address of a Prometheus server that scrapes the predictors, or the folder of their inference log."""
    events: str = ""
    """Folder of the shop's events with request_id, for guards on clicks and purchases; needs a log. Empty: neither is
    judged."""
    gateway: str = ""
    """Gateway of the HTTPRoute that splits traffic in Standard mode; empty: KServe splits it."""
    ready_s: Limit = 600.0
    """Seconds that a predictor may take to become ready."""

    def plan(self, service: str) -> RolloutPlan:
        """The schedule of a service."""
        return RolloutPlan(
            steps=self.steps, guards=self.guards, poll_s=self.poll_s, unready_looks=self.unready_looks, model=service
        )  # fmt: skip

    def check(self) -> None:
        """Refuse places that are no source of evidence; asks none of them.

        Raises:
            InputError: evidence is neither an address nor a folder, or events come without the log that names answers.
        """
        if not self.evidence:
            raise InputError("rollout.evidence is empty, but strategy is guarded",
                             "name a Prometheus server (http://...) or an inference log's folder")  # fmt: skip
        if self.events and self.evidence.startswith(("http://", "https://")):
            raise InputError("rollout.events is given without an inference log", "let rollout.evidence name its folder")
