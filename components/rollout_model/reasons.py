"""Reasons of a verdict as sentences with metric, numbers and limit."""

from collections.abc import Iterable, Sequence

from components.rollout_model.guards import BAD, GuardConfig, GuardState, Metric, State


def within(guard: GuardState, config: GuardConfig) -> bool:
    """Whether the estimate of an undecided guard is within the tolerance."""
    if guard.metric is Metric.OVERLAP:
        return guard.estimate is None or guard.estimate >= guard.limit
    if guard.metric in BAD:
        small = (guard.candidate_rate or 0.0) <= config.negligible
        return small or (guard.estimate is not None and guard.estimate <= guard.limit)
    return guard.champion_events == 0 or (guard.estimate or 0.0) >= guard.limit


def harmful(guard: GuardState, config: GuardConfig, share: float) -> str:
    """Reason for a rollback because a guard detected harm."""
    evidence = f"e-value {guard.harm_e:.3g} reached {1 / config.alpha_guard:.0f}"
    return f"{_seen(guard, share)}; {_limit(guard, config)}; harm detected by the sequential test: {evidence}"


def worse_at_the_end(guard: GuardState, config: GuardConfig, share: float, p_value: float) -> str:
    """Reason for a rollback by the planned test at the end of the final step."""
    return (
        f"{_seen(guard, share)}; {_limit(guard, config)}; safety not shown in {config.max_duration_s:,.0f} s and "
        f"the final test detected harm: p {p_value:.2g}, limit {config.alpha_final:.2g}"
    )


def unsettled(guard: GuardState, config: GuardConfig, share: float) -> str:
    """Reason for a rollback without detected harm, because the estimate is beyond the limit."""
    return (
        f"{_seen(guard, share)}; {_limit(guard, config)}; neither harm nor safety was detected within "
        f"{config.max_duration_s:,.0f} s and the estimate is beyond the limit"
    )


def no_data(missing: Sequence[GuardState], requests: int, config: GuardConfig, share: float) -> list[str]:
    """Reasons for a rollback because of too little data."""
    reasons = [f"{guard.metric.label}: no data in {config.max_duration_s:,.0f} s, but required"
               for guard in missing]  # fmt: skip
    if requests < config.min_sample:
        reasons.append(
            f"requests: the candidate answered {requests:,} in {config.max_duration_s:,.0f} s at "
            f"{share:.0%} of the traffic, minimum {config.min_sample:,}; too little data, so the rollout is rolled back"
        )
    return reasons


def passed(guards: Iterable[GuardState], config: GuardConfig, share: float) -> list[str]:
    """State of every guard at the end of a passed step."""
    words = {
        State.SAFE: "safe",
        State.NO_DATA: "not judged, no data",
        State.UNDECIDED: f"no harm detected, undecided after {config.max_duration_s:,.0f} s",
    }
    return [
        f"{guard.metric.label}: not judged, no data" if guard.state is State.NO_DATA
        else f"{_seen(guard, share)}; {_limit(guard, config)}; {words[guard.state]}"
        for guard in guards
    ]  # fmt: skip


def waiting(guards: Iterable[GuardState], seen: tuple[int, float], config: GuardConfig) -> list[str]:
    """Conditions that a step still waits for.

    Args:
        guards: All guards.
        seen: Requests of the candidate and seconds in this step.
        config: Limits.
    """
    requests, seconds = seen
    reasons = []
    if requests < config.min_sample:
        reasons.append(f"requests: {requests:,} of at least {config.min_sample:,}")
    if seconds < config.min_duration_s:
        reasons.append(f"duration: {seconds:,.0f} s of at least {config.min_duration_s:,.0f} s")
    for guard in guards:
        if guard.state is State.UNDECIDED:
            reasons.append(f"{guard.metric.label}: e-value of safety {guard.safe_e:.3g} of {1 / config.beta:.0f}")
        elif guard.state is State.NO_DATA and guard.metric in config.required:
            reasons.append(f"{guard.metric.label}: no data yet, but required")
    return reasons


def _seen(guard: GuardState, share: float) -> str:
    if guard.metric is Metric.OVERLAP:
        mean = "none" if guard.estimate is None else f"{guard.estimate:.3f}"
        return (
            f"{guard.metric.label}: mean {mean} of {guard.candidate_requests:,} answers at {share:.0%} of the traffic"
        )
    candidate = f"{_rate(guard.candidate_rate)} ({guard.candidate_events:,} of {guard.candidate_requests:,})"
    if share == 1:
        where = "with all traffic on the candidate"
        return f"{guard.metric.label}: {candidate} against {_rate(guard.champion_rate)} of the champion before, {where}"
    counts = f"({guard.champion_events:,} of {guard.champion_requests:,})"
    champion = f"the champion's {_rate(guard.champion_rate)} {counts}"
    return f"{guard.metric.label}: {candidate} against {champion} at {share:.0%} of the traffic"


def _limit(guard: GuardState, config: GuardConfig) -> str:
    if guard.metric is Metric.OVERLAP:
        return f"limit at least {guard.limit:g}"
    ratio = "unknown" if guard.estimate is None else f"{guard.estimate:.3f}"
    low = "0" if guard.low is None else f"{guard.low:.3f}"
    high = "no end" if guard.high is None else f"{guard.high:.3f}"
    span = "" if guard.low is None and guard.high is None else (
        f" ({1 - config.alpha_guard:.1%} confidence sequence of the rollout {low} to {high})"
    )  # fmt: skip
    kind = "at most" if guard.metric in BAD else "at least"
    return f"ratio {ratio}{span}, limit {kind} {guard.limit:.3g}"


def _rate(rate: float | None) -> str:
    return "unknown" if rate is None else f"{rate:.2%}" if rate >= 0.001 else f"{rate:.4%}"
