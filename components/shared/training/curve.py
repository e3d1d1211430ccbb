"""The learning curve that a loop writes: one point an epoch."""

from pathlib import Path

from components.shared.storage import read_json


def best_point(curve: list[dict], metric: str) -> dict:
    """The point of a learning curve with the highest `metric`."""
    return max(curve, key=lambda point: point[metric])


def summary(model: Path, metric: str) -> dict[str, float]:
    """Best value of the metric, the epoch that reached it (from 1), and the last training loss."""
    curve = read_json(model / "curve.json")
    best = best_point(curve, metric)
    return {metric: best[metric], "best_epoch": best["epoch"], "last_loss": curve[-1]["loss"]}
