"""Neighbours of a moment know the purchases before it and no others."""

import math

import pytest

from components.build_features.tests.test_statistics import purchases
from components.shared.recommender.neighbours import Neighbours
from components.shared.recommender.similarity import SimilarityConfig


@pytest.mark.parametrize("name", ["ranker-0", "test", "serving"])
def test_neighbours_count_shoppers_before_the_moment(shop, built, name):
    moment = {**built.timeline.reference_times(), "serving": built.timeline.end}[name]
    found = Neighbours.open(built.folder / "neighbours" / name).similarity
    who: dict[str, set[str]] = {}
    own: dict[str, set[str]] = {}
    for user, item, _ in purchases(shop, moment):
        who.setdefault(item, set()).add(user)
        own.setdefault(user, set()).add(item)
    config = SimilarityConfig()

    def squares(shoppers: set[str]) -> float:
        return sum(len(own[user]) ** (-2 * config.shopper_power) for user in shoppers)

    ids = built.catalog.item_id.to_pylist()
    assert found.shape == (len(ids), len(ids)) and found.nnz > 0
    for one in range(1, len(ids)):
        for other in range(1, len(ids)):
            left, right = who.get(ids[one], set()), who.get(ids[other], set())
            enough = one != other and min(len(left), len(right)) >= config.min_shoppers
            wanted = squares(left & right) / math.sqrt(squares(left) * squares(right)) if enough else 0.0
            assert found[one, other] == pytest.approx(wanted, abs=1e-6)
