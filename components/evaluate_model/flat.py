"""Flat metrics for the decision, the bundle's manifest and the Kubeflow UI."""

from typing import Any

from components.evaluate_model.compare import DIVERSITY_METRICS, LIST_METRICS, MODEL

_RANKER = ("auc", "gauc", "log_loss", "calibration_error", "calibration_ratio", "accuracy", "precision", "recall", "f1",
           "threshold", "candidate_recall")  # fmt: skip


def flat_metrics(result: dict[str, Any]) -> dict[str, float]:
    """All metrics of the model by flat name; metrics that could not be measured are absent.

    List metrics keep their names (ndcg_at_10), on first-time purchases `new_<name>`; the ranker's are `ranker_<name>`,
    by task `ranker_again_<name>` and `ranker_first_<name>`; `ndcg_at_10_over_<method>` with `_low` and `_high` is the
    difference from another method; `anonymous_<name>` are those for shoppers without id and history.
    """
    found: dict[str, float | None] = {"test_shoppers": result["split"]["shoppers"]}
    for scope, prefix in (("overall", ""), ("first", "new_")):
        methods = result["scopes"][scope]["methods"]
        found |= {f"{prefix}{name}": methods[MODEL][name]["mean"] for name in (*LIST_METRICS, *DIVERSITY_METRICS)}
        for method, difference in result["scopes"][scope]["differences"].items():
            name = f"{prefix}ndcg_at_10_over_{method.lower().replace(' ', '_').replace('-', '_')}"
            found |= {f"{name}{end}": difference["ndcg_at_10"][key] for end, key in _ENDS.items()}
    for task, prefix in (("all", "ranker_"), ("again", "ranker_again_"), ("first", "ranker_first_")):
        found |= {f"{prefix}{name}": result["ranker"][task][name] for name in _RANKER}
    anonymous = result["anonymous"]
    found |= {"anonymous_ndcg_at_10": anonymous["ndcg_at_10"][MODEL], "anonymous_predicted": anonymous["predicted"],
              "anonymous_observed": anonymous["observed"]}  # fmt: skip
    return {name: float(value) for name, value in found.items() if value is not None}


_ENDS = {"": "mean", "_low": "low", "_high": "high"}
