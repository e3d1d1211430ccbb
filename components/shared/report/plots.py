"""Plots shared by several reports; each function takes JSON of the stages and returns a figure for a Page."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from components.shared.report.page import COLOURS, new_figure

Estimates = Mapping[str, Mapping[str, float | None]]
"""Name -> {mean, low, high}."""

_MODEL, _CHAMPION = "model", "champion"
_GREY, _GOOD, _BAD, _INK = "#b6bcc8", "#1d7f5c", "#b3263e", "#374151"
_ROW = 0.34
"""Height of a bar in inches."""


def method_bars(panels: Mapping[str, Estimates], label: str) -> Figure:
    """Methods as bars with intervals, one panel per task; the model is highlighted.

    Args:
        panels: Title of each panel and the methods in it.
        label: Name of the metric.
    """
    rows = max((len(methods) for methods in panels.values()), default=1)
    figure = new_figure(height=0.9 + _ROW * rows)
    for axes, (title, methods) in zip(_panels(figure, len(panels)), panels.items(), strict=True):
        known = {name: found for name, found in methods.items() if found["mean"] is not None}
        ordered = sorted(known, key=lambda name: known[name]["mean"] or 0.0)
        means, spans = _spans([known[name] for name in ordered])
        colours = [{_MODEL: COLOURS[0], _CHAMPION: COLOURS[1]}.get(name, _GREY) for name in ordered]
        axes.barh(ordered, means, color=colours, height=0.66)
        axes.errorbar(means, range(len(ordered)), xerr=spans, fmt="none", ecolor=_INK, elinewidth=1, capsize=2.5)
        top = float((means + spans[1]).max(initial=0.0)) or 1.0
        for row, mean in enumerate(means):
            axes.text(mean + spans[1][row] + top * 0.02, row, f"{mean:.3f}", va="center", fontsize=8, color=_INK)
        axes.set_xlim(0, top * 1.18)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel(label)
        axes.grid(visible=False, axis="y")
    return figure


def differences(panels: Mapping[str, Estimates], label: str) -> Figure:
    """Paired differences with intervals around zero: green is above, red below, grey includes zero."""
    rows = max((len(methods) for methods in panels.values()), default=1)
    figure = new_figure(height=0.9 + _ROW * rows)
    for axes, (title, methods) in zip(_panels(figure, len(panels)), panels.items(), strict=True):
        found = {name: methods[name] for name in methods if methods[name]["mean"] is not None}
        known = {f"over {name}": found[name] for name in sorted(found, key=lambda name: -(found[name]["mean"] or 0.0))}
        means, spans = _spans(list(known.values()))
        axes.axvline(0.0, color=_INK, linewidth=1)
        for row, (mean, low, high) in enumerate(zip(means, *spans, strict=True)):
            colour = _GOOD if mean - low > 0 else _BAD if mean + high < 0 else "#7b8494"
            axes.errorbar(mean, row, xerr=[[low], [high]], fmt="o", color=colour, markersize=5, capsize=3, linewidth=2)
            label_text = f"{mean:+.3f}" if abs(mean) >= 0.01 else f"{mean:+.4f}"
            axes.annotate(label_text, (mean, row), (0, 6), textcoords="offset points", ha="center", fontsize=8,
                          color=colour)  # fmt: skip
        axes.set_yticks(range(len(known)), list(known))
        axes.set_ylim(-0.6, len(known) - 0.3)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(visible=False, axis="y")
    return figure


def learning_curves(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Loss and validation metric by epoch, one panel per model.

    Args:
        curves: curve.json by model: points of epoch, loss and one validation metric.
    """
    figure = new_figure(height=2.6)
    for axes, (name, curve) in zip(_panels(figure, len(curves)), curves.items(), strict=True):
        metric = next((key for key in (curve[0] if curve else {}) if key.startswith("validation_")), "")
        epochs = [point["epoch"] for point in curve]
        axes.plot(epochs, [point["loss"] for point in curve], marker="o", markersize=4, color=COLOURS[0])
        axes.set_ylabel("training loss", color=COLOURS[0])
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(name, loc="left", fontsize=10)
        if metric:
            right = axes.twinx()
            right.plot(epochs, [point[metric] for point in curve], marker="s", markersize=4, color=COLOURS[1])
            right.set_ylabel(metric.replace("_", " "), color=COLOURS[1])
            right.grid(visible=False)
            right.spines["top"].set_visible(False)
    return figure


def roc_curves(tasks: Mapping[str, Mapping[str, Any] | None]) -> Figure:
    """ROC curves by name; each {fpr, tpr, auc}, None if not measured."""
    figure = new_figure(width=3.7, height=3.3)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle="--")
    for name, curve in tasks.items():
        if curve is not None:
            axes.plot(curve["fpr"], curve["tpr"], linewidth=1.8, label=f"{name}, AUC {curve['auc']:.3f}")
    axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1.01))
    _legend(axes, "lower right")
    return figure


def calibration(tasks: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Observed against predicted share on logarithmic axes; empty bins of {predicted, observed} are omitted."""
    figure = new_figure(width=3.7, height=3.3)
    axes = figure.subplots()
    low, high = 1.0, 0.0
    for name, bins in tasks.items():
        points = [(found["predicted"], found["observed"]) for found in bins if found["observed"] > 0]
        if points:
            predicted, observed = zip(*points, strict=True)
            low, high = min(low, *predicted, *observed), max(high, *predicted, *observed)
            axes.plot(predicted, observed, marker="o", markersize=4, linewidth=1.2, label=name)
    span = (max(low * 0.7, 1e-6), min(high * 1.4, 1.0)) if high else (0.001, 1.0)
    axes.plot(span, span, color=_GREY, linewidth=1, linestyle="--")
    axes.set(xscale="log", yscale="log", xlim=span, ylim=span, xlabel="predicted share", ylabel="observed share")
    for axis in (axes.xaxis, axes.yaxis):
        _plain_logarithmic(axis)
    _legend(axes, "upper left")
    return figure


def events_per_day(counts: Mapping[str, int]) -> Figure:
    """Events of each UTC day, by ISO date."""
    figure = new_figure(height=2.2)
    axes = figure.subplots()
    days = np.array(list(counts), dtype="datetime64[D]")
    axes.fill_between(days, list(counts.values()), color=COLOURS[0], alpha=0.2, linewidth=0)
    axes.plot(days, list(counts.values()), color=COLOURS[0], linewidth=1)
    locator = AutoDateLocator(minticks=2)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("events")
    return figure


def counts_bars(counts: Mapping[str, int]) -> Figure:
    """One bar per name, the largest on top."""
    ordered = sorted(counts, key=lambda name: counts[name])
    figure = new_figure(height=0.5 + _ROW * len(ordered))
    axes = figure.subplots()
    bars = axes.barh(ordered, [counts[name] for name in ordered], color=COLOURS[0], height=0.66)
    axes.bar_label(bars, labels=[f" {counts[name]:,}" for name in ordered], fontsize=8, color=_INK)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.margins(x=0.15)
    axes.grid(visible=False, axis="y")
    return figure


def durations(stages: Sequence[tuple[str, float]]) -> Figure:
    """Stages on a time line.

    Args:
        stages: Name and seconds, in the order they ran.
    """
    names, seconds = [name for name, _ in stages], np.array([length for _, length in stages])
    starts = np.cumsum(seconds) - seconds
    figure = new_figure(height=0.7 + _ROW * len(names))
    axes = figure.subplots()
    axes.barh(range(len(names)), seconds, left=starts, color=COLOURS[0], height=0.6)
    for row, (start, length) in enumerate(zip(starts, seconds, strict=True)):
        axes.annotate(f"{length:.1f} s", (start + length, row), (4, 0), textcoords="offset points", va="center",
                      fontsize=8, color=_INK)  # fmt: skip
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, max(float(seconds.sum()) * 1.1, 0.1))
    axes.set_xlabel("seconds since the start")
    axes.grid(visible=False, axis="y")
    return figure


def _panels(figure: Figure, count: int) -> list[Axes]:
    return list(figure.subplots(1, max(count, 1), squeeze=False)[0][:count])


def _spans(estimates: Sequence[Mapping[str, float | None]]) -> tuple[np.ndarray, np.ndarray]:
    """Means [n] and distances to both ends [2, n]; zero without an interval."""
    means = np.array([found["mean"] for found in estimates], np.float64)
    ends = [[found["mean"] if found[key] is None else found[key] for found in estimates] for key in ("low", "high")]
    low, high = np.array(ends, np.float64).reshape(2, len(estimates))
    return means, np.maximum(np.stack([means - low, high - means]), 0.0)


def _legend(axes: Axes, place: Literal["lower right", "upper left"]) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc=place, fontsize=8, frameon=False)


def _plain_logarithmic(axis: Axis) -> None:
    """Label ticks as 0.01 instead of powers of ten."""
    axis.set_major_locator(LogLocator())
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())
