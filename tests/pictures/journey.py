"""The picture of a model's way on Kubernetes: the pipeline's steps, and who answered the shoppers meanwhile.

`SHOPRANK_JOURNEY=FILE python -m pytest tests/cluster/test_journey.py`, then `python -m tests.pictures.journey FILE`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from components.shared.report.page import COLOURS, new_figure

PICTURE = Path(__file__).parents[2] / "manifests" / "journey.svg"

RUNS = {"first": COLOURS[0], "second": COLOURS[2], "third": COLOURS[1]}
"""Runs of the pipeline, and the colours of the versions that they registered."""

_NAMES = {"first": "first run, deployed", "second": "second run, another ranker",
          "third": "third run, its model damaged: all sold out"}  # fmt: skip


def draw(record: dict[str, Any], out: Path) -> None:
    """Draw a timeline that tests/cluster/timeline.py wrote."""
    figure = new_figure(10.5, 6.4)
    steps, requests = figure.subplots(2, 1, sharex=True, height_ratios=(13, 6))
    _draw_steps(steps, record["steps"])
    _draw_requests(requests, record)
    end = max([one["end"] for one in record["steps"]] + [one["at"] for one in record["requests"]])
    requests.set(xlim=(0, end), xlabel="seconds")
    _draw_marks(steps, requests, record["marks"], end)
    figure.legend(handles=_kinds(), loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    figure.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else {})


def _draw_steps(axes: Axes, steps: list[dict[str, Any]]) -> None:
    """A line for each step, in the order of the first run, with a bar for each time that it ran."""
    names = list(dict.fromkeys(one["step"] for one in steps))
    if "rollout-model" in names:
        names.remove("rollout-model")
        names.append("rollout-model")
    for one in steps:
        row = names.index(one["step"])
        if one["cached"]:
            axes.plot(one["start"], row, marker="o", markersize=5, color=RUNS[one["run"]], fillstyle="none")
        else:
            axes.barh(row, one["end"] - one["start"], left=one["start"], height=0.72, color=RUNS[one["run"]])
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)


def _draw_marks(steps: Axes, requests: Axes, marks: list[dict[str, Any]], end: float) -> None:
    """A line at each mark, with its text above; one that would meet the text before it stands higher."""
    before, high = -end, False
    for mark in sorted(marks, key=lambda one: one["at"]):
        high = mark["at"] - before < 0.15 * end and not high
        before = mark["at"]
        for axes in (steps, requests):
            axes.axvline(mark["at"], color="0.25", linewidth=1, linestyle=(0, (4, 2)))
        steps.annotate(mark["what"], (mark["at"], 1), xycoords=("data", "axes fraction"), xytext=(0, 16 if high else 3),
                       textcoords="offset points", ha="right" if mark["at"] > 0.9 * end else "center", va="bottom",
                       fontsize=9, color="0.15")  # fmt: skip


def _kinds() -> list[Any]:
    """What the legend explains."""
    cached = Line2D([], [], marker="o", markersize=5, linestyle="", color="0.35", fillstyle="none",
                    label="result taken from the cache")  # fmt: skip
    return [*(Patch(color=colour, label=_NAMES[run]) for run, colour in RUNS.items()), cached]


def _draw_requests(axes: Axes, record: dict[str, Any]) -> None:
    """Share of each version in the answers of each second."""
    seconds = [one for one in record["requests"] if sum(one["answers"].values()) + one["failed"]]
    names = {name: next(run for run in RUNS if text.startswith(run)) for name, text in record["versions"].items()}
    rows = [
        [100 * one["answers"].get(name, 0) / (sum(one["answers"].values()) + one["failed"]) for name in names]
        for one in seconds
    ]
    # Without the seconds between two equal ones, which would only make the file longer.
    kept = [at for at, row in enumerate(rows) if not row == rows[max(at - 1, 0)] == rows[min(at + 1, len(rows) - 1)]]
    kept = sorted({0, *kept, len(rows) - 1})
    times, shares = [seconds[at]["at"] for at in kept], zip(*(rows[at] for at in kept), strict=True)
    axes.stackplot(times, *shares, colors=[RUNS[run] for run in names.values()], step="mid", linewidth=0)
    failed = sum(one["failed"] for one in seconds)
    asked = failed + sum(sum(one["answers"].values()) for one in seconds)
    axes.set(ylim=(0, 100), ylabel="% of answers")
    damaged = [one["answers"].get(name, 0) for one in seconds for name, run in names.items() if run == "third"]
    title = f"answers at the gateway: {asked:,} requests, {failed} failed; the damaged model answered {sum(damaged)}"
    axes.set_title(title, fontsize=10, loc="left")


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("timeline", type=Path)
    parser.add_argument("--out", type=Path, default=PICTURE)
    arguments = parser.parse_args()
    draw(json.loads(arguments.timeline.read_text()), arguments.out)
    print(arguments.out)


if __name__ == "__main__":
    main()
