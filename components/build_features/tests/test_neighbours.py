"""Neighbours at a reference time use only the purchases before it."""

import math

import pytest

from components.build_features.tests.test_statistics import purchases
from components.shared.recommender.neighbours import Neighbours
from components.shared.recommender.similarity import SimilarityConfig


@pytest.mark.parametrize("name", ["ranker-0", "test", "serving"])
def test_neighbours_count_shoppers_before_the_reference_time(shop, built, name):
    reference_time = {**built.timeline.reference_times(), "serving": built.timeline.end}[name]
    found = Neighbours.open(built.folder / "neighbours" / name).similarity
    buyers: dict[str, set[str]] = {}
    bought: dict[str, set[str]] = {}
    for user, item, _ in purchases(shop, reference_time):
        buyers.setdefault(item, set()).add(user)
        bought.setdefault(user, set()).add(item)
    config = SimilarityConfig()

    def squares(shoppers: set[str]) -> float:
        return sum(len(bought[user]) ** (-2 * config.shopper_power) for user in shoppers)

    ids = built.catalog.item_id.to_pylist()
    assert found.shape == (len(ids), len(ids)) and found.nnz > 0
    for one in range(1, len(ids)):
        for other in range(1, len(ids)):
            left, right = buyers.get(ids[one], set()), buyers.get(ids[other], set())
            enough = one != other and min(len(left), len(right)) >= config.min_shoppers
            expected = squares(left & right) / math.sqrt(squares(left) * squares(right)) if enough else 0.0
            assert found[one, other] == pytest.approx(expected, abs=1e-6)
