"""Fits LambdaMART: gradient-boosted trees, by LightGBM, whose gradients are weighted by the change of nDCG.

Source: Burges, From RankNet to LambdaRank to LambdaMART: An Overview, 2010.
"""

from collections.abc import Sequence
from typing import Any

import lightgbm
import numpy as np

from components.shared.evaluation.search_metrics import gains
from components.shared.search.relevance import FEATURES
from components.shared.search.trees import MAX_LEAVES, Tree
from components.train_relevance.fitting import JudgedQuery

_PARAMETERS = {
    "objective": "lambdarank", "num_leaves": MAX_LEAVES, "learning_rate": 0.1, "use_missing": False,
    "deterministic": True, "force_row_wise": True, "seed": 0, "verbosity": -1,
}  # fmt: skip
_DIGITS = 2


def booster(queries: Sequence[JudgedQuery], columns: Sequence[int], trees: int) -> lightgbm.Booster:
    """LambdaMART of some columns of FEATURES.

    Args:
        queries: At least one with a relevant candidate; those without teach nothing.
        columns: Of FEATURES.
        trees: Rounds of boosting.
    """
    taught = [query for query in queries if query.grade.any()]
    # LightGBM takes whole numbers as labels, and the gain of each.
    grades, label = np.unique(np.concatenate([query.grade for query in taught]).round(_DIGITS), return_inverse=True)
    features = np.concatenate([query.features[:, columns] for query in taught])
    data = lightgbm.Dataset(features, label, group=[len(query.grade) for query in taught])
    return lightgbm.train({**_PARAMETERS, "label_gain": gains(grades).tolist()}, data, trees)


def exported(model: lightgbm.Booster, columns: Sequence[int]) -> tuple[Tree, ...]:
    """The trees of a model of some columns of FEATURES, for the predictor."""
    return tuple(_tree(each["tree_structure"], columns) for each in model.dump_model()["tree_info"])


def _tree(node: dict[str, Any], columns: Sequence[int]) -> Tree:
    if "split_feature" not in node:
        return float(node["leaf_value"])
    name = FEATURES[columns[node["split_feature"]]]
    return name, float(node["threshold"]), _tree(node["left_child"], columns), _tree(node["right_child"], columns)
