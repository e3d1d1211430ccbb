"""Metrics of search results against scikit-learn, the definition of RBO, and hand calculation."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from components.shared.evaluation.search_metrics import (
    graded_ndcg_at_k,
    judged_at_k,
    rank_biased_overlap,
    result_overlap_at_k,
)

grades = st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0])


@given(st.lists(grades, max_size=15), st.lists(grades, max_size=15), st.integers(0, 5))
def test_graded_ndcg_is_that_of_scikit_learn(found, missed, unjudged):
    """`found` are judged results, after `unjudged` ones; `missed` are judged items that are not among the results."""
    assume(max([*found, *missed], default=0.0) > 0)
    results = [0.0] * unjudged + found
    positions = [*results, *[0.0] * (40 - len(results))]
    # To scikit-learn, what was missed comes after all positions.
    true = np.exp2([[*positions, *missed]]) - 1
    expected = ndcg_score(true, -np.arange(true.shape[1])[None], k=10)
    judged = np.array([[*missed, *found, 0.0]])
    assert graded_ndcg_at_k(np.array([[*results, 0.0]]), judged, 10)[0] == pytest.approx(expected, abs=1e-12)


def test_queries_are_independent_and_one_without_relevant_items_has_no_ndcg():
    found = graded_ndcg_at_k(np.array([[0.0, 3.0], [0.0, 0.0]]), np.array([[1.0, 3.0], [0.0, 0.0]]), 10)
    ideal = 7 + 1 / np.log2(3)
    assert found[0] == pytest.approx(7 / np.log2(3) / ideal) and np.isnan(found[1])


def test_judged_counts_positions_without_a_result_as_not_judged():
    judged = np.zeros((2, 100), bool)
    judged[0, [0, 3, 9, 10]] = True
    assert judged_at_k(judged, 10).tolist() == [0.3, 0.0]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [("", "", 1.0), ("abc", "", 0.0), ("abc", "cab", 1.0), ("abcd", "ab", 2 / 3), ("abcx", "yabc", 2 / 3)],
)
def test_overlap_is_relative_to_the_longer_list(one, other, expected):
    assert result_overlap_at_k(one, other, 3) == pytest.approx(expected)


rankings = st.lists(st.sampled_from("abcdefghijklmnop"), unique=True, max_size=12)


def defined(one, other, persistence, depth=3_000):
    """RBO as the infinite sum of its definition, over lists whose agreement goes on as it was at their ends."""
    short, long = sorted((one, other), key=len)
    if not short:
        return float(not long)
    agreement = []
    for d in range(1, depth + 1):
        if d <= len(long):
            common = len(set(short[:d]) & set(long[:d]))
            common += max(d - len(short), 0) * len(set(short) & set(long[: len(short)])) / len(short)
            agreement.append(common / d)
        else:
            agreement.append(agreement[-1])
    weights = (1 - persistence) * persistence ** np.arange(depth)
    return float(weights @ agreement)


@given(rankings, rankings, st.sampled_from([0.5, 0.9, 0.98]))
def test_rank_biased_overlap_is_the_sum_of_its_definition(one, other, persistence):
    found = rank_biased_overlap(one, other, persistence)
    assert found == pytest.approx(defined(one, other, persistence), abs=1e-9)
    assert found == rank_biased_overlap(other, one, persistence)
    assert rank_biased_overlap(one, one, persistence) == pytest.approx(1.0)


def test_rank_biased_overlap_falls_most_with_changes_at_the_top():
    before = list("abcdefghij")
    top, bottom = ["x", *before[1:]], [*before[:-1], "x"]
    assert rank_biased_overlap(before, top, 0.9) < rank_biased_overlap(before, bottom, 0.9) < 1
    assert rank_biased_overlap(before, list("klmnopqrst"), 0.9) == 0
