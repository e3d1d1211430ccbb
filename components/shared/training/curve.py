"""Learning curves written by training loops: one point per epoch."""

from pathlib import Path

from components.shared.storage import read_json

REFIT = "refit.json"
"""File of the curve of a refit on all windows, which has no metric; an empty list without a refit."""

FINAL = "ranker, all windows"
"""Name of the refit's curve in `curves`."""


def curves(retriever: Path | None, ranker: Path | None) -> dict[str, list[dict]]:
    """Return the non-empty curves of trained models by name.

    Args:
        retriever: Output of train_retriever, or None.
        ranker: Output of train_ranker, or None; outputs of earlier releases have no REFIT.

    Raises:
        InputError: a folder has no curve.json.
    """
    found = {} if retriever is None else {"retriever": read_json(retriever / "curve.json")}
    if ranker is not None:
        found["ranker"] = read_json(ranker / "curve.json")
        found[FINAL] = read_json(ranker / REFIT) if (ranker / REFIT).exists() else []
    return {name: curve for name, curve in found.items() if curve}


def best_point(curve: list[dict], metric: str) -> dict:
    """Return the point of a learning curve with the highest `metric`."""
    return max(curve, key=lambda point: point[metric])


def summary(model: Path, metric: str) -> dict[str, float]:
    """Return the best value of the metric, the epoch that reached it (from 1), and the last training loss."""
    curve = read_json(model / "curve.json")
    best = best_point(curve, metric)
    return {metric: best[metric], "best_epoch": best["epoch"], "last_loss": curve[-1]["loss"]}
