"""Evaluates all guards on counts at once: e-values of harm and of safety, confidence sequences and estimates.

A guard's e-value of harm is a mixture over the step in which the harm began (weights 1/2, 1/6, 1/12 ...), so harm that
appears only at a larger share is not outweighed by good earlier steps.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from components.rollout_model.guards import COUNTED, GuardConfig
from components.rollout_model.sequential import (
    ABOVE,
    BELOW,
    LOG_RATIOS,
    log_mixture,
    one_sided,
    rate_evidence,
    ratio_interval,
)
from components.rollout_model.step_evidence import (
    CANDIDATE,
    CHAMPION,
    WORSE_IS_CANDIDATE,
    StepEvidence,
    harm_log_ratios,
)


@dataclass(frozen=True, kw_only=True)
class CountResults:
    """Results of the guards on counts, float or bool [guards] in the order of COUNTED; ratios: candidate / champion."""

    known: np.ndarray
    """Whether there is data to compare."""
    harm: np.ndarray
    """Log e-value against "no harm"; minus infinity where the harm is shown to be within the tolerance."""
    safe: np.ndarray
    """Log e-value of this step against "harm beyond the tolerance"."""
    champion_rate: np.ndarray
    """Rate in this step; with all traffic on the candidate, the reference from previous steps. NaN without requests."""
    candidate_rate: np.ndarray
    """Rate in this step."""
    estimate: np.ndarray
    """Ratio in this step; NaN for 0 of 0."""
    low: np.ndarray
    """Lower bound of the confidence sequence of the log ratio over all steps; valid if the step compares versions."""
    high: np.ndarray
    """Upper bound."""
    limit: np.ndarray
    """Limit of the ratio: a maximum for bad counts, a minimum for good ones."""


class CountGuards:
    """Evaluates the guards on counts; keeps only sums over previous steps, the steps hold the evidence itself.

    Args:
        config: Limits of the guards.
    """

    def __init__(self, config: GuardConfig):
        self.config = config
        self.log_ratios = harm_log_ratios(config)
        self._tolerated = one_sided(LOG_RATIOS < self.log_ratios[:, -1:])
        self._earlier = np.zeros((0, *self.log_ratios.shape))
        self._rates = np.full(len(COUNTED), np.nan)

    def start(self, before: Sequence[StepEvidence]) -> None:
        """Sum the steps before a new step: the evidence from each of them onwards, and the champion's rates."""
        compared = [step.log_evidence for step in before]
        if compared:
            self._earlier = np.cumsum(compared[::-1], axis=0)[::-1]
            events, counted = (
                np.sum([getattr(step, name) for step in before], axis=0) for name in ("events", "counted")
            )
            # Otherwise a problem of both versions shortly before this step would be attributed to the candidate.
            whole, recent = _divide(events, counted)[:, CHAMPION], before[-1].recent_rates()
            self._rates = np.where(WORSE_IS_CANDIDATE, np.fmax(whole, recent), np.fmin(whole, recent))

    def find(self, step: StepEvidence) -> CountResults:
        """Evaluate the guards in the current step, with the evidence of the previous steps."""
        soak = not step.compares
        reference = self._rates if soak else _divide(step.events, step.counted)[:, CHAMPION]
        rates = _divide(step.events, step.counted)[:, CANDIDATE]
        limits = self._limits(soak)
        own = self._against(reference, step) if soak else step.log_evidence
        starts = np.concatenate([self._earlier + (0.0 if soak else own), own[None]])
        safe = self._safe(starts, soak)
        bar = math.log(1 / self.config.beta)
        number = np.arange(1, len(starts) + 1)[:, None]
        weighted = np.where(safe < bar, log_mixture(starts[..., :-1], ABOVE) - np.log(number * (number + 1)), -np.inf)
        own_safe = np.maximum(safe[-1], self._negligible(step))
        harm = np.logaddexp.reduce(weighted, axis=0)
        if len(starts) == 1:
            harm = np.where(own_safe < bar, harm, -np.inf)
        low, high = ratio_interval(starts[0, :, :-1], self.config.alpha_guard)
        return CountResults(
            known=(step.counted[:, CANDIDATE] > 0) & (reference >= 0), harm=harm, safe=own_safe,
            champion_rate=reference, candidate_rate=rates,
            estimate=_divide(rates, reference) if soak else step.estimate(), limit=limits,
            low=np.where(WORSE_IS_CANDIDATE, low, -high), high=np.where(WORSE_IS_CANDIDATE, high, -low),
        )  # fmt: skip

    def _limits(self, soak: bool) -> np.ndarray:
        factor = math.log(self.config.full_share_factor)
        harm = np.full(len(COUNTED), factor) if soak else self.log_ratios[:, -1]
        return np.exp(np.where(WORSE_IS_CANDIDATE, harm, -harm))

    def _against(self, reference: np.ndarray, step: StepEvidence) -> np.ndarray:
        """Log likelihood ratios [guards, 242] of the candidate's rates against fixed limits (the last column)."""
        limit = np.nan_to_num(reference) * self._limits(soak=True)
        limit = np.where(WORSE_IS_CANDIDATE, np.maximum(limit, self.config.negligible), limit)
        grid = np.append(LOG_RATIOS, 0.0)
        signed = np.where(WORSE_IS_CANDIDATE[:, None], grid, -grid)
        return rate_evidence(signed, step.events[:, CANDIDATE], step.counted[:, CANDIDATE], limit)

    def _safe(self, starts: np.ndarray, soak: bool) -> np.ndarray:
        """Log e-values [starts, guards] against "harm beyond the tolerance".

        In a soak (all traffic on the candidate) the last row is against "rate beyond the fixed limit".
        """
        safe = log_mixture(starts[..., :-1], self._tolerated) - starts[..., -1]
        if soak:
            safe[-1] = log_mixture(starts[-1, :, :-1], BELOW)
        return safe

    def _negligible(self, step: StepEvidence) -> np.ndarray:
        """Log e-value [guards] against "the candidate's rate is not negligible"; minus infinity for good counts."""
        rate = np.full(len(COUNTED), self.config.negligible)
        evidence = rate_evidence(LOG_RATIOS, step.events[:, CANDIDATE], step.counted[:, CANDIDATE], rate)
        return np.where(WORSE_IS_CANDIDATE, log_mixture(evidence, BELOW), -np.inf)


def final_p_values(step: StepEvidence) -> np.ndarray:
    """Exact one-sided p-values [guards] of "no harm", valid for a single planned look.

    The share is constant within a step, so each event falls on a version with constant probability.
    """
    worse, rows = WORSE_IS_CANDIDATE.astype(int), np.arange(len(COUNTED))
    total = np.maximum(step.counted.sum(1), 1.0)
    return stats.binom.sf(step.events[rows, worse] - 1, step.events.sum(1), step.counted[rows, worse] / total)


def _divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return part / whole
