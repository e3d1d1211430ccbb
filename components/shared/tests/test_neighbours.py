"""Neighbours and their similarity against slow references in plain Python."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from components.shared.features.columns import ItemStatistic
from components.shared.features.pairs import summarise_pairs
from components.shared.recommender.candidates import Source, similar_items
from components.shared.recommender.neighbours import Neighbours, item_knn_scores_of
from components.shared.recommender.similarity import SimilarityConfig, cosine_neighbours

BASKETS = st.lists(st.sets(st.integers(1, 8), max_size=6), min_size=1, max_size=12)
"""Items of each shopper; 0 is the unknown item."""


def matrix(baskets, items=9):
    dense = np.zeros((len(baskets), items), np.float32)
    for row, own in enumerate(baskets):
        dense[row, sorted(own)] = 1
    return sparse.csr_matrix(dense)


@settings(max_examples=60)
@given(BASKETS, st.integers(1, 3), st.sampled_from([0.0, 0.3, 1.0]))
def test_similarity_is_the_cosine_weighted_by_shopper_activity(baskets, least, power):
    config = SimilarityConfig(min_shoppers=least, shopper_power=power)
    found = cosine_neighbours(matrix(baskets), config).similarity.toarray()
    shoppers_of = [{row for row, own in enumerate(baskets) if item in own} for item in range(9)]

    def squares(shoppers):
        return sum(len(baskets[row]) ** (-2 * power) for row in shoppers)

    for one in range(9):
        for other in range(9):
            enough = one and other and one != other and min(len(shoppers_of[one]), len(shoppers_of[other])) >= least
            lengths = math.sqrt(squares(shoppers_of[one]) * squares(shoppers_of[other]))
            expected = squares(shoppers_of[one] & shoppers_of[other]) / lengths if enough else 0.0
            assert found[one, other] == pytest.approx(expected, abs=1e-6) and found[one, other] <= 1


def test_limits_keep_the_nearest_neighbours_and_the_most_frequent_items():
    baskets = [{1, 2, 3}] * 3 + [{1, 2}] * 2 + [{1}]
    nearest = cosine_neighbours(matrix(baskets), SimilarityConfig(neighbours=1)).similarity
    assert [set(nearest[item].indices) for item in (1, 2, 3)] == [{2}, {1}, {2}]
    two = cosine_neighbours(matrix(baskets), SimilarityConfig(max_items=2)).similarity
    assert two.nnz == 2 and two[1, 2] == two[2, 1] > 0


@settings(max_examples=30)
@given(st.lists(st.lists(st.tuples(st.integers(1, 8), st.just("purchase"), st.integers(1, 9_000_000)), max_size=8),
                min_size=1, max_size=3))  # fmt: skip
def test_item_knn_score_is_the_weighted_sum_over_touched_items(shop, histories_of, rows):
    similarity = np.triu(np.random.default_rng(0).random((9, 9)).astype(np.float32), 1)
    rows = [sorted(row, key=lambda event: -event[2]) for row in rows]
    touched = summarise_pairs(histories_of(rows), 9, shop.spec())
    found = Neighbours(sparse.csr_matrix(similarity)).item_knn_score(touched, len(rows))
    whole = found.toarray()
    for at, row in enumerate(rows):
        weight = {item: sum(0.5 ** (age / 86_400 / 30) for what, _, age in row if what == item) for item, *_ in row}
        expected = sum((math.log1p(w) * similarity[item] for item, w in weight.items()), np.zeros(9))
        assert whole[at] == pytest.approx(expected, rel=1e-4, abs=1e-6)
    # Scores of single pairs equal those of the whole matrix.
    row, item = (where.ravel() for where in np.indices(whole.shape))
    own, nearest = item_knn_scores_of(found, row, item)
    assert (own == whole.ravel()).all() and (nearest == whole.max(1)[row]).all()


def test_saved_neighbours_are_read_back_unchanged(tmp_path):
    neighbours = cosine_neighbours(matrix([{1, 2}, {1, 2}, {2, 1, 5}]), SimilarityConfig())
    neighbours.save(tmp_path / "neighbours")
    assert (Neighbours.open(tmp_path / "neighbours").similarity != neighbours.similarity).nnz == 0


def test_items_without_common_shoppers_have_no_neighbours(tmp_path):
    none = cosine_neighbours(matrix([{1}, {2}]), SimilarityConfig())
    none.save(tmp_path / "none")
    assert Neighbours.open(tmp_path / "none").similarity.shape == (9, 9) and none.similarity.nnz == 0
    assert none.most_similar_own(np.array([1]), np.ones(1), np.array([2])).tolist() == [0]


def test_most_similar_own_item_has_the_largest_weighted_similarity():
    neighbours = Neighbours(sparse.csr_matrix(([0.5, 0.4, 0.3], ([1, 2, 2], [3, 3, 4])), shape=(9, 9)))
    own, item = np.array([1, 2]), np.array([3, 4, 5])
    assert neighbours.most_similar_own(own, np.array([1.0, 1.0]), item).tolist() == [1, 2, 0]
    assert neighbours.most_similar_own(own, np.array([1.0, 2.0]), item).tolist() == [2, 2, 0]
    assert neighbours.most_similar_own(own[:0], np.zeros(0), item).tolist() == [0, 0, 0]


def test_similar_items_are_top_scores_among_allowed_recent_discoveries():
    statistics = np.zeros((5, len(ItemStatistic)), np.float32)
    statistics[:, ItemStatistic.DISCOVERY_MIDDLE] = [0, 9, 9, 0, 2]
    item_knn_score = sparse.csr_matrix(np.array([[0, 0.1, 0.2, 9, 1], [0, 0, 0, 0, 0.1]], np.float32))
    row, item, source = similar_items(item_knn_score, statistics, 2, None)
    assert set(zip(row.tolist(), item.tolist(), strict=True)) == {(0, 2), (0, 4), (1, 4)} and source == Source.SIMILAR
    row, item, _ = similar_items(item_knn_score, statistics, 9, np.array([True, True, True, True, False]))
    assert set(zip(row.tolist(), item.tolist(), strict=True)) == {(0, 1), (0, 2)}
    row, item, _ = similar_items(sparse.csr_matrix((2, 5), dtype=np.float32), statistics, 2, None)
    assert len(row) == len(item) == 0
