"""The README's pictures: the pipeline drawn from its compiled YAML, and the report as a browser shows it.

`python -m tests.pictures.drawing` writes both beside the compiled pipelines.
"""

import argparse
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from components.shared.errors import InputError
from components.shared.report.page import COLOURS, new_figure
from pipelines.compiling import COMPILED

PIPELINE_PICTURE = COMPILED / "training.svg"
REPORT_PICTURE = COMPILED / "report.png"


def tasks_of(specification: dict[str, Any]) -> dict[str, tuple[set[str], bool]]:
    """Every task of a compiled pipeline: the tasks it waits for, and whether a condition guards it."""
    found: dict[str, tuple[set[str], bool]] = {}

    def walk(dag: dict[str, Any], guarded: bool, outer: set[str]) -> None:
        for name, task in dag["tasks"].items():
            before = set(task.get("dependentTasks", [])) | outer
            component = specification["components"][task["componentRef"]["name"]]
            if "dag" in component:
                walk(component["dag"], True, before)
            else:
                found[name] = (before, guarded)

    walk(specification["root"]["dag"], False, set())
    return {name: (before & set(found), guarded) for name, (before, guarded) in found.items()}


def needed_arrows(tasks: dict[str, tuple[set[str], bool]]) -> dict[str, set[str]]:
    """The tasks that each task waits for directly, without those implied by another one."""

    def all_before(name: str) -> set[str]:
        return tasks[name][0].union(*(all_before(one) for one in tasks[name][0]))

    return {
        name: {one for one in before if not any(one in all_before(other) for other in before)}
        for name, (before, _) in tasks.items()
    }


def depths(tasks: dict[str, tuple[set[str], bool]]) -> dict[str, int]:
    """Length of the longest path from the start to each task."""
    depth: dict[str, int] = {}

    def of(name: str) -> int:
        if name not in depth:
            depth[name] = 1 + max((of(one) for one in tasks[name][0] if one in tasks), default=-1)
        return depth[name]

    for name in tasks:
        of(name)
    return depth


def draw_pipeline(compiled: Path, out: Path) -> None:
    """Draw the tasks of a compiled pipeline as boxes in the order they wait for each other."""
    specification = next(one for one in yaml.safe_load_all(compiled.read_text()) if "root" in one)
    tasks = tasks_of(specification)
    order = sorted(tasks, key=lambda name: (depths(tasks)[name], name))
    figure = new_figure(11.0, 2.6)
    axes = figure.subplots()
    columns = (len(order) + 1) // 2
    # Two lines of boxes, the second from right to left, so that names stay readable.
    position = {
        name: (index, 1.0) if index < columns else (2 * columns - 1 - index, 0.0) for index, name in enumerate(order)
    }
    arrows = needed_arrows(tasks)
    for name, (_, guarded) in tasks.items():
        x, y = position[name]
        colour = COLOURS[1] if guarded else COLOURS[0]
        axes.text(x, y, name.replace("-", "\n"), ha="center", va="center", fontsize=10, color="white",
                  bbox={"boxstyle": "round,pad=0.5", "facecolor": colour, "edgecolor": "none"})  # fmt: skip
        for one in arrows[name]:
            curve = "arc3,rad=-0.25" if abs(position[one][0] - x) > 1 and position[one][1] == y else "arc3"
            axes.annotate("", (x, y), position[one], zorder=0,
                          arrowprops={"arrowstyle": "-|>", "color": "0.65", "shrinkA": 34, "shrinkB": 34,
                                      "connectionstyle": curve})  # fmt: skip
    axes.text(columns - 1, -0.55, "orange: only for a blessed model", ha="right", color="0.4", fontsize=9)
    axes.set(xlim=(-0.6, columns - 0.4), ylim=(-0.65, 1.45))
    axes.axis("off")
    figure.savefig(out, format="svg", metadata={"Date": None})


def photograph(report: Path, out: Path) -> None:
    """Let headless Chromium draw the top of a report.

    Raises:
        InputError: there is no report, or no Chromium.
    """
    if not report.exists():
        raise InputError(f"{report} does not exist", "run `make demo` first")
    browser = shutil.which("chromium")
    if browser is None:
        raise InputError("chromium is not installed", "apt-get install chromium")
    subprocess.run(
        [browser, "--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1200,1500",
         f"--screenshot={out}", report.resolve().as_uri()],
        check=True, capture_output=True,
    )  # fmt: skip


def main() -> None:
    """Write both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path, default=Path("out/report.html"))
    arguments = parser.parse_args()
    draw_pipeline(COMPILED / "training.yaml", PIPELINE_PICTURE)
    photograph(arguments.report, REPORT_PICTURE)
    print(f"{PIPELINE_PICTURE}\n{REPORT_PICTURE}")


if __name__ == "__main__":
    main()
