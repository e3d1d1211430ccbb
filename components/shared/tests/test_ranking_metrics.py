"""List metrics against torchmetrics, trec_eval and hand calculation: empty positions, repeated items."""

import ir_measures
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import RR, R, Success, nDCG
from torchmetrics.functional import retrieval

from components.shared.evaluation.ranking_metrics import coverage, gini, hits, novelty, overlap_at_k, per_shopper
from components.shared.features.ragged import Ragged, offsets_of

REFERENCES = {
    "ndcg_at_10": lambda scores, target: retrieval.retrieval_normalized_dcg(scores, target, top_k=10),
    "recall_at_10": lambda scores, target: retrieval.retrieval_recall(scores, target, top_k=10),
    "recall_at_20": lambda scores, target: retrieval.retrieval_recall(scores, target, top_k=20),
    "mrr": lambda scores, target: _within(20, retrieval.retrieval_reciprocal_rank(scores, target)),
    "hit_rate_at_10": lambda scores, target: retrieval.retrieval_hit_rate(scores, target, top_k=10),
}


def _within(positions, reciprocal):
    return reciprocal if reciprocal >= 1 / positions else 0.0


def _ragged(rows):
    flat = np.array([item for row in rows for item in row], np.int64)
    return Ragged.mean(offsets_of(np.array([len(row) for row in rows])), flat)


items = st.integers(1, 40)
shopper = st.tuples(
    st.lists(items, min_size=0, max_size=20, unique=True),
    st.sets(items, min_size=1, max_size=30),
)


def _as_scores(answer, relevant):
    """Scores that rank the list first of 41 items, then 20 irrelevant items, then all others."""
    scores, target = torch.zeros(61), torch.zeros(61, dtype=torch.bool)
    scores[41:] = torch.linspace(0.5, 0.1, 20)
    for position, item in enumerate(answer):
        scores[item] = 100.0 - position
    target[list(relevant)] = True
    return scores, target


@settings(max_examples=60, deadline=None)
@given(st.lists(shopper, min_size=1, max_size=5))
def test_metrics_match_torchmetrics(shoppers):
    lists = np.zeros((len(shoppers), 20), np.int64)
    for row, (answer, _) in enumerate(shoppers):
        lists[row, : len(answer)] = answer
    found = per_shopper(lists, _ragged([sorted(relevant) for _, relevant in shoppers]))
    for name, reference in REFERENCES.items():
        expected = [float(reference(*_as_scores(*one))) for one in shoppers]
        np.testing.assert_allclose(found[name], expected, atol=1e-6, err_msg=name)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=20), st.sets(st.integers(1, 12), min_size=1))
def test_repeated_item_counts_once_at_its_first_position(answer, relevant):
    found = hits(np.array([answer]), _ragged([sorted(relevant)]))[0]
    seen = set()
    for position, item in enumerate(answer):
        assert found[position] == (item in relevant and item not in seen)
        seen.add(item)


def test_an_empty_list_scores_zero_and_nothing_is_nan():
    found = per_shopper(np.zeros((2, 20), np.int64), _ragged([[3], [1, 2]]))
    assert all((values == 0).all() for values in found.values())


def test_a_perfect_list_scores_one():
    found = per_shopper(np.array([[4, 2, 9] + [0] * 17]), _ragged([[2, 4, 9]]))
    assert all(values == pytest.approx(1.0) for values in found.values())


def test_more_relevant_items_than_positions_still_allow_a_perfect_ndcg():
    lists = np.arange(1, 21)[None]
    found = per_shopper(lists, _ragged([list(range(1, 31))]))
    assert found["ndcg_at_10"][0] == pytest.approx(1.0)
    assert found["recall_at_10"][0] == pytest.approx(10 / 30)


def test_coverage_novelty_and_gini_by_hand():
    same, spread = np.array([[1, 2], [1, 2]]), np.array([[1, 2], [3, 4]])
    popularity = np.array([0.0, 9, 1, 1, 1])
    assert (coverage(same, 4), coverage(spread, 4)) == (0.5, 1.0)
    assert gini(spread, 4) == pytest.approx(0.0)
    assert gini(same, 4) == pytest.approx(0.5)
    assert novelty(spread, popularity) > novelty(same, popularity)
    share = np.array([10, 2]) / (12 + 5)
    assert novelty(same, popularity) == pytest.approx(-np.log2(share).mean())


def test_overlap_ignores_order_and_empty_positions():
    assert overlap_at_k(np.array([[1, 2, 0]]), np.array([[2, 1, 0]])).tolist() == [1.0]
    assert overlap_at_k(np.array([[1, 2]]), np.array([[3, 4]])).tolist() == [0.0]


IR = {
    "ndcg_at_10": nDCG @ 10, "recall_at_10": R @ 10, "recall_at_20": R @ 20, "mrr": RR @ 20,
    "hit_rate_at_10": Success @ 10,
}  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(shopper, min_size=1, max_size=5))
def test_metrics_match_trec_eval(shoppers):
    """ir-measures runs trec_eval, the reference implementation in information retrieval."""
    lists = np.zeros((len(shoppers), 20), np.int64)
    qrels, run = {}, {}
    for row, (answer, relevant) in enumerate(shoppers):
        lists[row, : len(answer)] = answer
        qrels[str(row)] = dict.fromkeys(map(str, relevant), 1)
        run[str(row)] = {str(item): 100.0 - position for position, item in enumerate(answer)}
    found = per_shopper(lists, _ragged([sorted(relevant) for _, relevant in shoppers]))
    for name, measure in IR.items():
        values = {one.query_id: one.value for one in ir_measures.iter_calc([measure], qrels, run)}
        expected = [values.get(str(row), 0.0) for row in range(len(shoppers))]
        np.testing.assert_allclose(found[name], expected, atol=1e-6, err_msg=name)
