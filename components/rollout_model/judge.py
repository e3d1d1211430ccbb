"""The judge of a guarded rollout: decides after every interval of counts whether to wait, pass or roll back."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from components.rollout_model.count_guards import CountGuards, CountResults, final_p_values
from components.rollout_model.guards import (
    COUNTED,
    Action,
    GuardConfig,
    GuardState,
    Interval,
    Metric,
    State,
    Verdict,
)
from components.rollout_model.reasons import harmful, no_data, passed, unsettled, waiting, within, worse_at_the_end
from components.rollout_model.sequential import mean_evidence, mean_interval
from components.rollout_model.step_evidence import CANDIDATE, CHAMPION, StepEvidence
from components.shared.errors import InputError

FORMAT = 1
_FINAL_SHARE = 0.5
_TOP = 690.0
"""Upper limit of log e-values, so that exp does not overflow."""


class Judge:
    """Judges a whole rollout; keeps only sums, so the cost of an observation does not grow over time.

    Args:
        config: Limits of the guards.
    """

    def __init__(self, config: GuardConfig):
        self.config = config
        self._counts = CountGuards(config)
        self._steps: list[StepEvidence] = []
        self._worst = dict.fromkeys(config.judged, 0.0)

    @property
    def steps(self) -> int:
        """Number of started steps."""
        return len(self._steps)

    def start_step(self, share: float, *, final: bool | None = None) -> None:
        """Start a step. Evidence of harm carries over; evidence of safety starts from zero.

        Args:
            share: Share of the traffic on the candidate, in (0, 1]; at 1 there is no champion to compare with.
            final: Whether no later step compares both versions, so that guards undecided at its end must be settled;
                None: True for shares of one half or more.

        Raises:
            InputError: the share is not in (0, 1].
        """
        if not 0 < share <= 1:
            raise InputError(f"share is {share}", "give a share above 0 and up to 1; 5 % is 0.05")
        self._counts.start(self._steps)
        self._steps.append(StepEvidence(share=share, final=share >= _FINAL_SHARE if final is None else final))

    def observe(self, interval: Interval) -> Verdict:
        """Add an interval and return the verdict on all intervals so far.

        Raises:
            InputError: no step was started.
        """
        if not self._steps:
            raise InputError("the rollout has no current step", "call start_step before observe")
        self._steps[-1].add(interval, self._counts.log_ratios)
        return self._verdict()

    def to_json(self) -> dict[str, Any]:
        """Return the complete state for `from_json` as JSON values."""
        return {
            "format": FORMAT, "config": self.config.to_json(), "steps": [step.to_json() for step in self._steps],
            "worst": {str(metric): value for metric, value in self._worst.items()},
        }  # fmt: skip

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Judge":
        """Restore a judge from the state returned by `to_json`.

        Raises:
            InputError: the state is invalid or has another format.
        """
        try:
            if raw["format"] != FORMAT:
                raise InputError(
                    f"judge of format {raw['format']}", f"format {FORMAT} is read; start the rollout again"
                )
            judge = cls(GuardConfig.read(raw["config"], "guards"))
            judge._worst = {metric: float(raw["worst"][metric]) for metric in judge.config.judged}
            judge._steps = [StepEvidence.from_json(step) for step in raw["steps"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"this is not a valid judge state: {error!r}", "remove it and start the rollout again"
            ) from error
        judge._counts.start(judge._steps[:-1])
        return judge

    def _verdict(self) -> Verdict:
        step, config = self._steps[-1], self.config
        guards = (*self._counted(step), *self._overlap(step))
        harms = [guard for guard in guards if guard.state is State.HARM]
        missing = [guard for guard in guards if guard.state is State.NO_DATA and guard.metric in config.required]
        undecided = [guard for guard in guards if guard.state is State.UNDECIDED]
        # With all traffic on the candidate a step does not wait for proof: an estimate within the wide limit is enough.
        pending = [guard for guard in undecided if step.compares or not within(guard, config)]
        sampled = step.requests >= config.min_sample
        over = step.seconds >= config.max_duration_s
        if harms:
            action, reasons = Action.ROLL_BACK, [harmful(guard, config, step.share) for guard in harms]
        elif over and (missing or not sampled):
            action, reasons = Action.ROLL_BACK, no_data(missing, step.requests, config, step.share)
        elif over and (worse := self._unsettled(step, undecided)):
            action, reasons = Action.ROLL_BACK, worse
        elif over or (sampled and not missing and not pending and step.seconds >= config.min_duration_s):
            action, reasons = Action.PASS, passed(guards, config, step.share)
        else:
            action, reasons = Action.WAIT, waiting(guards, (step.requests, step.seconds), config)
        return Verdict(action=action, reasons=tuple(reasons), guards=guards)

    def _unsettled(self, step: StepEvidence, undecided: list[GuardState]) -> list[str]:
        """Reasons for a rollback at the end of the final step because of guards undecided by the sequential tests."""
        if not step.final:
            return []
        planned = step.compares and not any(one.final for one in self._steps[:-1])
        p_values = final_p_values(step) if planned else np.ones(len(COUNTED))
        worse = []
        for guard in undecided:
            p_value = 1.0 if guard.metric is Metric.OVERLAP else float(p_values[COUNTED.index(guard.metric)])
            strict = self.config.strict or guard.metric is Metric.OVERLAP
            if p_value <= self.config.alpha_final:
                worse.append(worse_at_the_end(guard, self.config, step.share, p_value))
            elif strict and not within(guard, self.config):
                worse.append(unsettled(guard, self.config, step.share))
        return worse

    def _counted(self, step: StepEvidence) -> list[GuardState]:
        found = self._counts.find(step)
        return [self._count_guard(at, found, step) for at, metric in enumerate(COUNTED) if metric in self._worst]

    def _count_guard(self, at: int, found: CountResults, step: StepEvidence) -> GuardState:
        metric = COUNTED[at]
        events, counted = step.events[at].astype(int).tolist(), step.counted[at].astype(int).tolist()
        harm, safe = self._worsen(metric, float(found.harm[at])), float(found.safe[at])
        low, high = np.exp((found.low[at], found.high[at])) if step.compares else (0.0, np.inf)
        return GuardState(
            metric=metric, state=self._state(bool(found.known[at]), harm, safe),
            champion_events=events[CHAMPION], champion_requests=counted[CHAMPION],
            candidate_events=events[CANDIDATE], candidate_requests=counted[CANDIDATE],
            champion_rate=_finite(found.champion_rate[at]), candidate_rate=_finite(found.candidate_rate[at]),
            estimate=_finite(found.estimate[at]), low=_finite(low) or None, high=_finite(high),
            harm_e=_e(harm), safe_e=_e(safe), p_value=math.exp(-harm), limit=float(found.limit[at]),
        )  # fmt: skip

    def _overlap(self, step: StepEvidence) -> list[GuardState]:
        metric = Metric.OVERLAP
        if metric not in self._worst:
            return []
        limit = self.config.min_overlap
        since: Counter[float] = Counter()
        harms = []
        for number, one in reversed(list(enumerate(self._steps, 1))):
            since.update(one.overlaps)
            harms.append(mean_evidence(since, limit)[0] - math.log(number * (number + 1)))
        seen, own = sum(since.values()), sum(step.overlaps.values())
        harm, safe = self._worsen(metric, float(np.logaddexp.reduce(harms))), mean_evidence(step.overlaps, limit)[1]
        low, high = mean_interval(since, self.config.alpha_guard) if seen else (None, None)
        mean = sum(value * times for value, times in step.overlaps.items()) / own if own else None
        state = GuardState(
            metric=metric, state=self._state(own > 0, harm, safe), candidate_requests=own, candidate_rate=mean,
            estimate=mean, low=low, high=high, harm_e=_e(harm), safe_e=_e(safe), p_value=math.exp(-harm), limit=limit,
        )  # fmt: skip
        return [state]

    def _worsen(self, metric: Metric, log_e: float) -> float:
        """Update and return the largest log e-value of harm over all observations, so that harm stays detected."""
        self._worst[metric] = max(self._worst[metric], min(log_e, _TOP))
        return self._worst[metric]

    def _state(self, known: bool, harm: float, safe: float) -> State:
        if harm >= math.log(1 / self.config.alpha_guard):
            return State.HARM
        if not known:
            return State.NO_DATA
        return State.SAFE if safe >= math.log(1 / self.config.beta) else State.UNDECIDED


def _e(log_e: float) -> float:
    return math.exp(min(log_e, _TOP))


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
