"""The learning curves that loops write: one point an epoch."""

from pathlib import Path

from components.shared.storage import read_json

REFIT = "refit.json"
"""The curve, without a metric, of a final training on all windows; empty without one."""

FINAL = "ranker, all windows"
"""Its name in `curves`."""


def curves(retriever: Path | None, ranker: Path | None) -> dict[str, list[dict]]:
    """Every curve of trained models that is not empty, by name.

    Args:
        retriever: Output of train_retriever; None: there is none.
        ranker: Output of train_ranker; one of an earlier release has no REFIT.

    Raises:
        InputError: a folder lacks its curve.
    """
    found = {} if retriever is None else {"retriever": read_json(retriever / "curve.json")}
    if ranker is not None:
        found["ranker"] = read_json(ranker / "curve.json")
        found[FINAL] = read_json(ranker / REFIT) if (ranker / REFIT).exists() else []
    return {name: curve for name, curve in found.items() if curve}


def best_point(curve: list[dict], metric: str) -> dict:
    """The point of a learning curve with the highest `metric`."""
    return max(curve, key=lambda point: point[metric])


def summary(model: Path, metric: str) -> dict[str, float]:
    """Best value of the metric, the epoch that reached it (from 1), and the last training loss."""
    curve = read_json(model / "curve.json")
    best = best_point(curve, metric)
    return {metric: best[metric], "best_epoch": best["epoch"], "last_loss": curve[-1]["loss"]}
