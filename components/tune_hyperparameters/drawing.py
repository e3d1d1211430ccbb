"""Plots of a study."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import create_trial

from components.shared.report.page import COLOURS, new_figure
from components.shared.tuning.search_space import Choice, Int, Range, Value, Variant
from components.tune_hyperparameters.result import Result

_SMALL: dict[str, Any] = {"textcoords": "offset points", "fontsize": 7, "va": "center"}
_LABEL = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1}
_MARKS = {"complete": ("o", COLOURS[0]), "pruned": ("x", COLOURS[5])}


def history(result: Result, metric: str) -> Figure:
    """Plot the quality of all trials in order, and the best complete trial so far."""
    figure = new_figure()
    axes = figure.subplots()
    for state, (mark, colour) in _MARKS.items():
        found = [row for row in result.rows if row.state == state and row.quality is not None]
        if found:
            axes.scatter([row.number for row in found], [row.quality or 0.0 for row in found], s=26, label=state,
                         marker=mark, color=colour, zorder=3)  # fmt: skip
    complete = [row for row in result.rows if row.state == "complete"]
    if complete:
        best = np.maximum.accumulate([row.quality or 0.0 for row in complete])
        axes.step([row.number for row in complete], best, where="post", color=COLOURS[2], label="best so far")
    if result.defaults and result.defaults.quality is not None:
        axes.axhline(result.defaults.quality, color=COLOURS[1], linestyle="--", linewidth=1.2, label="defaults")
    axes.set(xlabel="trial", ylabel=metric)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False)
    return figure


def pareto(result: Result, metric: str) -> Figure:
    """Plot complete trials by latency and quality, with the Pareto front."""
    figure = new_figure()
    axes = figure.subplots()
    axes.scatter([row.latency_ms or 0.0 for row in result.complete], [row.quality or 0.0 for row in result.complete],
                 color=COLOURS[5], s=26, label="complete")  # fmt: skip
    front = result.front()
    axes.step([row.latency_ms or 0.0 for row in front], [row.quality or 0.0 for row in front], where="post", marker="o",
              markersize=5, color=COLOURS[0], label="Pareto front")  # fmt: skip
    for row, colour, name in ((result.defaults, COLOURS[1], "defaults"), (result.chosen(), COLOURS[2], "chosen")):
        if row and row.latency_ms is not None and row.quality is not None:
            axes.scatter([row.latency_ms], [row.quality], s=90, facecolors="none", edgecolors=colour, linewidths=2,
                         label=name, zorder=4)  # fmt: skip
    axes.set(xlabel="milliseconds to score one shopper", ylabel=metric)
    axes.legend(fontsize=8, frameon=False)
    return figure


def importances(result: Result) -> dict[str, float]:
    """Return each hyperparameter's importance, largest first; empty if all trials have the same quality.

    The importance of a hyperparameter that only some trials have is computed from those trials.
    """
    distributions = {name: _distribution(found) for name, found in result.space.ranges.items()}
    study = optuna.create_study(direction="maximize")
    for row in result.complete:
        known = {name: distributions[name] for name in row.values}
        study.add_trial(create_trial(params=row.values, distributions=known, value=row.quality))
    # PED-ANOVA separates good trials from others, so their qualities must differ.
    if len({row.quality for row in result.complete}) < 2:
        return {}
    return {name: share for name, share in optuna.importance.get_param_importances(study).items() if share > 0}


def importance(shares: Mapping[str, float]) -> Figure:
    """Plot importances as bars, the largest on top."""
    names = list(shares)[::-1]
    figure = new_figure(height=0.6 + 0.3 * len(names))
    axes = figure.subplots()
    bars = axes.barh(names, [shares[name] for name in names], color=COLOURS[0], height=0.66)
    axes.bar_label(bars, labels=[f" {shares[name]:.0%}" for name in names], fontsize=8)
    axes.margins(x=0.12)
    axes.grid(visible=False, axis="y")
    return figure


def parallel(result: Result, metric: str) -> Figure:
    """Plot each complete trial as a line across the axes of its hyperparameters and the axis of the metric."""
    names, rows = list(result.space.ranges), list(reversed(result.complete))
    figure = new_figure(width=max(7.6, 1.1 * (len(names) + 1)), height=3.4)
    axes = figure.subplots()
    quality = np.array([row.quality or 0.0 for row in rows])
    span = float(np.ptp(quality)) or 1.0
    last = (quality - quality.min()) / span
    for row, level in zip(rows, last, strict=True):
        known = {at: _height(result.space.ranges[name], row.values[name])
                 for at, name in enumerate(names) if name in row.values}  # fmt: skip
        axes.plot([*known, len(names)], [*known.values(), level], color=colormaps["Blues"](0.25 + 0.75 * level),
                  linewidth=1.3)  # fmt: skip
    for at, name in enumerate(names):
        for height, text in _ticks(result.space.ranges[name]):
            axes.annotate(text, (at, height), (3, 0), bbox=_LABEL, **_SMALL)
    for height, value in ((0.0, quality.min()), (1.0, quality.max())):
        axes.annotate(f"{value:.4g}", (len(names), height), (3, 0), **_SMALL)
    labels = [name.split(".")[-1].replace("_", "\n") for name in names]
    axes.set_xticks(range(len(names) + 1), [*labels, metric.replace(" ", "\n")])
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.06)
    return figure


def _height(found: Range, value: Value) -> float:
    """Return the relative position of a value on its axis, 0 to 1."""
    if isinstance(found, Choice | Variant):
        return found.options.index(value) / max(len(found.options) - 1, 1)
    low, high, at = (float(number) for number in (found.low, found.high, value))
    if found.log:
        low, high, at = np.log(low), np.log(high), np.log(at)
    return float((at - low) / (high - low))


def _ticks(found: Range) -> list[tuple[float, str]]:
    ends = found.options if isinstance(found, Choice | Variant) else (found.low, found.high)
    return [(_height(found, value), f"{value:g}" if isinstance(value, int | float) else str(value)) for value in ends]


def _distribution(found: Range) -> BaseDistribution:
    if isinstance(found, Choice | Variant):
        return CategoricalDistribution(found.options)
    if isinstance(found, Int):
        return IntDistribution(found.low, found.high, log=found.log)
    return FloatDistribution(found.low, found.high, log=found.log)
