"""Relevance of an item to a query: a model over scores of both legs, matches by field and facts of the item.

It is a weighted sum, a sum of trees or both, learned listwise from judgments or clicks (components/train_relevance);
the shipped weights are for shops that have neither.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from components.shared.errors import InputError
from components.shared.search.trees import Tree, TreeSum, parsed_tree
from components.shared.storage import read_json, write_json

FEATURES = (
    "lexical", "log_lexical", "meaning", "coverage", "title", "brand", "category", "attributes", "description",
    "exact", "price", "popularity", "available", "freshness",
)  # fmt: skip
"""Inputs of the model, in the order of the columns of `features`.

lexical: score of the lexical leg over that of the best candidate; log_lexical: its logarithm, from log .05.
meaning: centred cosine of the text vectors (dense.py). coverage: share of the query's idf that the item has.
title ... description: that share within one field. exact: 1 if the query is the item's code or title.
price: logarithm of the price over the candidates' median, 0 if unknown. popularity: share of the items that are asked
for less. available: 1 if it can be bought. freshness: share of the items of known age that are older."""
PERSONAL = "personal"
"""Name of the weight of the log-odds of a target event by the shopper's ranker, which the recommender adds to the
relevance of items of one class (recommender/blending.py); the search itself knows no shopper."""
_LEAST_LEXICAL = 0.05
SHIPPED = Path(__file__).parent / "cold_start.json"


@dataclass(frozen=True)
class RelevanceModel:
    """Weights by feature, and trees.

    Attributes:
        weights: Feature, or PERSONAL -> weight; features that are not named weigh nothing.
        about: How it was learned, and what its cross-validation found.
        trees: Trees whose values are added.
    """

    weights: Mapping[str, float]
    about: Mapping[str, Any]
    trees: Sequence[Tree] = ()

    @classmethod
    def read(cls, path: Path) -> "RelevanceModel":
        """Read a file that `write` wrote.

        Raises:
            InputError: it is no such file.
        """
        try:
            raw = read_json(path)
            weights = {str(name): float(weight) for name, weight in raw["weights"].items()}
            trees = tuple(parsed_tree(tree, FEATURES) for tree in raw.get("trees", ()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{path} holds no relevance model: {error}",
                             "give a file that `shoprank search-train` wrote") from error  # fmt: skip
        if unknown := sorted(set(weights) - {*FEATURES, PERSONAL}):
            raise InputError(f"{path} weighs '{unknown[0]}', which this version does not know",
                             f"train it again; the features are: {', '.join(FEATURES)}")  # fmt: skip
        if not all(map(np.isfinite, weights.values())):
            raise InputError(f"{path} has a weight that is not a finite number", "train it again")
        return cls(weights, raw.get("about", {}), trees)

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        trees = {"trees": self.trees} if self.trees else {}
        write_json(path, {"weights": dict(self.weights), "about": dict(self.about), **trees})

    def metrics(self) -> dict[str, float]:
        """The figures of `about`, by name."""
        return {name: float(value) for name, value in self.about.items() if isinstance(value, (int, float))}

    def relevance(self, features: np.ndarray) -> np.ndarray:
        """Relevance of candidates, float64 [n], as the logarithm of odds up to a constant of the query."""
        relevance = features @ np.array([self.weights.get(name, 0.0) for name in FEATURES])
        return relevance + self._sum.of(features) if self.trees else relevance

    @cached_property
    def _sum(self) -> TreeSum:
        return TreeSum(self.trees, FEATURES)


def lexical_features(score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`lexical` and `log_lexical` of candidates by the score of the lexical leg, 0 for those that it lacks."""
    relative = score / max(float(score.max(initial=0)), 1e-9)
    return relative, np.log(np.maximum(relative, _LEAST_LEXICAL))


def price_feature(price: np.ndarray) -> np.ndarray:
    """`price` of candidates by their prices, NaN when unknown."""
    logarithm = np.log1p(np.maximum(price, 0))
    known = logarithm[np.isfinite(logarithm)]
    return np.nan_to_num(logarithm - (np.median(known) if len(known) else 0.0))
