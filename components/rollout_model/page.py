"""HTML page of a rollout: the decision, then every guard over time with its limit."""

import datetime
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from components.rollout_model.guards import BAD, Action, GuardState, Metric, State
from components.rollout_model.record import Observation, RolloutRecord
from components.shared.report.page import COLOURS, Page, Tone, new_figure

_TONES: dict[State, Tone] = {
    State.HARM: "bad", State.SAFE: "good", State.UNDECIDED: "warning", State.NO_DATA: "neutral",
}  # fmt: skip
_CANDIDATE, _CHAMPION, _LIMIT = COLOURS[1], COLOURS[0], "#b3263e"
_SHADES = ("#f3f4f6", "#ffffff")
_UNITS = ((86_400.0 * 3, "days", 86_400.0), (7_200.0, "hours", 3_600.0), (180.0, "minutes", 60.0))


PAGE = "record.html"
"""File of the page, beside record.json."""


def write_record(record: RolloutRecord, folder: Path) -> None:
    """Write record.json and record.html.

    Raises:
        InputError: the folder cannot be written.
    """
    record.write(folder)
    record_page(record).write(folder / PAGE)


def record_page(record: RolloutRecord) -> Page:
    """Build the page of a rollout."""
    began = datetime.datetime.fromtimestamp(record.began, datetime.UTC)
    page = Page(
        f"Rollout of {record.model}", f"{record.candidate} against {record.champion}, begun {began:%Y-%m-%d %H:%M} UTC"
    )
    _decision(page, record)
    if record.seen:
        _steps(page, record)
        _guards(page, record)
        page.section(
            "Guards over time",
            "Left: the rates in each step so far; right: candidate over champion with the confidence sequence of the "
            "whole rollout, valid for all observations. Shades are steps. A band wholly on the wrong side of "
            "the dashed limit is harm beyond the tolerance, one wholly on the right side is safety.",
        )
        for metric in record.guards.judged:
            _plots(page, record, metric)
    _limits(page, record)
    return page


def _decision(page: Page, record: RolloutRecord) -> None:
    page.section("Decision")
    if record.promoted:
        headline = f"Promoted: {record.candidate} serves all traffic instead of {record.champion}"
    else:
        labels = ", ".join(guard.metric.label for guard in record.deciders)
        cause = f"harm in {labels}" if labels else record.reasons[0] if record.reasons else "no reason given"
        headline = f"Rolled back: {record.champion} serves all traffic; {cause}"
    page.banner(headline, "good" if record.promoted else "bad")
    page.badge("observations", len(record.seen))
    page.badge("time to decision", _duration(record.decided - record.began))
    page.badge("time to move the traffic", f"{record.moved - record.decided:.1f} s")
    page.badge("requests of the candidate", record.candidate_requests,
               note=f"{record.candidate_requests / max(record.requests, 1):.1%} of all live requests")  # fmt: skip
    if record.slow is not None:
        page.badge("slow answer", f"over {record.slow * 1e3:.0f} ms", note="the champion's p99 before the first step")
    page.checks([("good" if record.promoted else "bad", reason) for reason in record.reasons])


_VERDICT_TONES: dict[Action, Tone] = {Action.PASS: "good", Action.ROLL_BACK: "bad"}


def _steps(page: Page, record: RolloutRecord) -> None:
    rows, tones = [], dict[int, Tone]()
    for at, (percent, looks) in enumerate(_by_step(record.seen)):
        last = looks[-1].verdict
        undecided = [g.metric.label for g in last.guards if g.state is State.UNDECIDED]
        harm = [g.metric.label for g in last.guards if g.state is State.HARM]
        result = (
            f"harm: {', '.join(harm)}" if harm else f"undecided: {', '.join(undecided)}" if undecided else "all safe"
        )
        seconds = sum(look.interval.seconds for look in looks)
        requests = [sum(getattr(look.interval, arm).requests for look in looks) for arm in ("champion", "candidate")]
        rows.append([f"{percent} %", _duration(seconds), *requests, last.action.replace("_", " "), result])
        tones[at] = _VERDICT_TONES.get(last.action, "neutral")
    page.section("Steps").table(
        ["share", "time", "champion's requests", "candidate's requests", "verdict", "guards"], rows, tones
    )


def _guards(page: Page, record: RolloutRecord) -> None:
    last = record.seen[-1]
    page.section("Guards at the last observation", f"At {last.percent} % of the traffic; counts are of this step.")
    columns = ["guard", "state", "champion", "candidate", "ratio or mean", "limit"]
    rows = [[guard.metric.label, str(guard.state), _rate(guard, "champion"), _rate(guard, "candidate"),
             _estimate(guard), _limit(guard)]
            for guard in last.verdict.guards]  # fmt: skip
    page.table(columns, rows, {at: _TONES[guard.state] for at, guard in enumerate(last.verdict.guards)})
    page.text(
        f"In brackets the confidence sequence of the whole rollout, which holds with "
        f"{1 - record.guards.alpha_guard:.1%} for all observations. The e-values below are the evidence: harm is "
        f"shown by {1 / record.guards.alpha_guard:.0f}, safety in a step by {1 / record.guards.beta:.0f}."
    )
    evidence = [
        [guard.metric.label, _e(guard.harm_e), guard.p_value, _e(guard.safe_e)] for guard in last.verdict.guards
    ]
    page.table(["guard", "e-value of harm", "always-valid p-value", "e-value of safety"], evidence)


def _plots(page: Page, record: RolloutRecord, metric: Metric) -> None:
    found = [(look, guard) for look in record.seen for guard in look.verdict.guards if guard.metric is metric]
    if not any(guard.candidate_rate is not None for _, guard in found):
        page.text(f"{metric.label.capitalize()}: not judged, no data.")
        return
    scale, unit = _unit(record.seen[-1].time - record.began)
    hours = np.array([look.time - record.began for look, _ in found]) / scale
    guards = [guard for _, guard in found]
    figure = new_figure(height=2.5)
    if metric is Metric.OVERLAP:
        axes = figure.subplots()
        _band(axes, hours, guards, "mean overlap")
        axes.set_ylim(0, 1)
        _finish(axes, record, unit, scale)
    else:
        left, right = figure.subplots(1, 2)
        _rates(left, hours, guards)
        # With all traffic on the candidate there is no champion to compare with, and the limit differs.
        beside = [at for at, (look, _) in enumerate(found) if look.percent < 100] or list(range(len(found)))
        _band(right, hours[beside], [guards[at] for at in beside], "candidate / champion")
        _window(right, [guards[at] for at in beside])
        for axes in (left, right):
            _finish(axes, record, unit, scale)
    state = guards[-1].state
    figure.suptitle(metric.label.capitalize(), x=0.01, ha="left", fontsize=10, fontweight="bold")
    page.figure(figure, f"{metric.label.capitalize()}: {state} at the last observation")


def _rates(axes: Axes, hours: np.ndarray, guards: Sequence[GuardState]) -> None:
    for label, colour in (("champion", _CHAMPION), ("candidate", _CANDIDATE)):
        rates = np.array([np.nan if (value := getattr(g, f"{label}_rate")) is None else value for g in guards]) * 100
        axes.plot(hours, rates, color=colour, linewidth=1.5, label=label, marker="o" if len(hours) < 3 else None)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("{x:g} %")
    axes.legend(loc="lower right", fontsize=8, frameon=False)


def _band(axes: Axes, hours: np.ndarray, guards: Sequence[GuardState], label: str) -> None:
    low = np.array([0.0 if guard.low is None else guard.low for guard in guards])
    high = np.array([1e3 if guard.high is None else guard.high for guard in guards])
    middle = np.array([np.nan if guard.estimate is None else guard.estimate for guard in guards])
    axes.fill_between(hours, low, high, color=_CANDIDATE, alpha=0.22, linewidth=0)
    axes.plot(hours, middle, color=_CANDIDATE, linewidth=1.5, marker="o" if len(hours) < 3 else None)
    axes.plot(hours, [guard.limit for guard in guards], color=_LIMIT, linewidth=1.2, linestyle="--")
    axes.annotate("limit", (hours[0], guards[0].limit), (2, 3), textcoords="offset points", fontsize=8, color=_LIMIT)
    axes.set_ylabel(label)


def _window(axes: Axes, guards: Sequence[GuardState]) -> None:
    """Scale the axis to limit, equality and settled estimate; bands of the first observations are too wide to fit."""
    axes.axhline(1.0, color="#374151", linewidth=0.8)
    settled = guards[len(guards) // 4 :]
    ends = [end for guard in settled for end in (guard.low, guard.high, guard.limit) if end is not None]
    last = [guards[-1].estimate or 1.0, guards[-1].limit, 1.0]
    low, high = min(*ends, *last), max(*ends, *last)
    axes.set_ylim(max(low - 0.1 * (high - low), 0), min(high, 3 * max(last)) + 0.1 * (high - low))


def _finish(axes: Axes, record: RolloutRecord, unit: str, scale: float) -> None:
    """Add shades and labels of the steps, and label the time axis."""
    start = (record.seen[0].time - record.seen[0].interval.seconds - record.began) / scale
    whole = (record.seen[-1].time - record.began) / scale - start
    axes.set_xlim(start, start + whole)
    for at, (percent, looks) in enumerate(_by_step(record.seen)):
        end = (looks[-1].time - record.began) / scale
        axes.axvspan(start, end, color=_SHADES[at % 2], zorder=-2, linewidth=0)
        if end - start > 0.08 * whole:
            axes.annotate(f"{percent} %", ((start + end) / 2, 1.0), (0, 2), xycoords=("data", "axes fraction"),
                          textcoords="offset points", ha="center", fontsize=7, color="#6b7280")  # fmt: skip
        start = end
    axes.set_xlabel(f"{unit} since the rollout began")


def _limits(page: Page, record: RolloutRecord) -> None:
    page.section("Configuration")
    plain = {**record.guards.to_json(), "steps": list(record.steps)}
    rows = [
        [name, ", ".join(map(str, value)) if isinstance(value, list) else f"{value}"] for name, value in plain.items()
    ]
    page.table(["setting", "value"], rows)


def _by_step(seen: Sequence[Observation]) -> list[tuple[int, list[Observation]]]:
    steps: dict[int, list[Observation]] = {}
    for look in seen:
        steps.setdefault(look.percent, []).append(look)
    return list(steps.items())


def _unit(seconds: float) -> tuple[float, str]:
    return next(((scale, name) for least, name, scale in _UNITS if seconds >= least), (1.0, "seconds"))


def _duration(seconds: float) -> str:
    scale, unit = _unit(seconds)
    return f"{seconds / scale:,.1f} {unit}"


def _rate(guard: GuardState, arm: str) -> str | None:
    rate, requests = getattr(guard, f"{arm}_rate"), getattr(guard, f"{arm}_requests")
    if rate is None:
        return None
    if guard.metric is Metric.OVERLAP:
        return f"{requests:,} answers compared"
    counts = f" ({getattr(guard, f'{arm}_events'):,} of {requests:,})" if requests else " (steps before)"
    return f"{rate:.2%}{counts}" if rate >= 0.001 else f"{rate:.4%}{counts}"


def _estimate(guard: GuardState) -> str | None:
    if guard.estimate is None or (guard.low is None and guard.high is None):
        return None if guard.estimate is None else f"{guard.estimate:.3f}"
    low = "0" if guard.low is None else f"{guard.low:.3g}"
    return f"{guard.estimate:.3f} ({low} to {'no end' if guard.high is None else f'{guard.high:.3g}'})"


def _limit(guard: GuardState) -> str:
    return f"{'≤' if guard.metric in BAD else '≥'} {guard.limit:.3g}"


def _e(value: float) -> str:
    return "> 1000" if value > 1_000 else "< 0.01" if value < 0.01 else f"{value:.3g}"
