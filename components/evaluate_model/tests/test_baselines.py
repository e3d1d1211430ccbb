"""The baselines on a shop small enough to compute by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from components.evaluate_model.baselines import Past, baseline_lists, top_lists
from components.shared.features.history import Histories
from components.shared.features.ragged import offsets_of
from components.shared.features.spec import DAY
from components.shared.schema.tables import EVENT_TYPES

NOW = 100 * DAY
BUY, VIEW = EVENT_TYPES.index("purchase"), EVENT_TYPES.index("view")
ITEMS = 6


class Spec:
    """The part of a FeatureSpec that summarise_pairs reads."""

    target_event = "purchase"
    half_life_days = 30.0
    event_weights: dict[str, Any] = dict.fromkeys(EVENT_TYPES, 1.0)


def _histories(*shoppers):
    """(item, days ago[, event type]) of each shopper."""
    events = [[(*event, BUY)[:3] for event in sorted(shopper, key=lambda e: -e[1])] for shopper in shoppers]
    flat = [event for shopper in events for event in shopper]
    item, ago, kind = np.array(flat, np.int64).reshape(len(flat), 3).T
    rows = len(shoppers)
    return Histories(
        np.zeros(rows, np.int64), np.full(rows, NOW), offsets_of(np.array([len(s) for s in events])), item, kind,
        NOW - ago * DAY - 1, np.full(len(flat), np.nan, np.float32),
    )  # fmt: skip


ANN = [(1, 50), (1, 40), (1, 30), (2, 5)]
"""Item 1 often, item 2 lately."""
BOB = [(1, 60), (3, 60), (3, 2), (5, 90, VIEW)]
CAT = [(1, 3), (3, 3), (4, 1)]
DAN = [(2, 2), (4, 2)]
NEW: list[tuple[int, ...]] = []


@pytest.fixture
def lists():
    shoppers = _histories(ANN, NEW)
    past = Past.of(shoppers, iter([_histories(ANN, BOB), _histories(CAT, DAN, NEW)]), ITEMS, Spec(), 28)
    return past, baseline_lists(past, 4)


def test_past_counts_target_events_only(lists):
    past, _ = lists
    assert past.total.tolist() == [0, 5, 2, 3, 2, 0]
    assert past.recent.tolist() == [0, 1, 2, 2, 2, 0]
    assert past.counts.toarray().tolist() == [[0, 3, 1, 0, 0, 0], [0] * 6]
    assert past.buyers.shape == (5, 6)
    assert past.buyers.max() == 1


def test_counting_in_parts_equals_counting_at_once(lists):
    past, _ = lists
    whole = Past.of(_histories(ANN, NEW), _histories(ANN, BOB, CAT, DAN, NEW), ITEMS, Spec(), 28)
    assert (whole.total == past.total).all() and (whole.recent == past.recent).all()
    assert (whole.buyers != past.buyers).nnz == 0


def test_popularity_is_the_same_for_everybody(lists):
    found = lists[1]["popularity"]
    assert found.overall.tolist() == [[1, 3, 2, 4]] * 2
    assert found.first.tolist() == [[3, 4, 0, 0], [1, 3, 2, 4]]


def test_recent_popularity_counts_the_window_and_breaks_ties_by_all_time(lists):
    assert lists[1]["recent popularity"].overall[1].tolist() == [3, 2, 4, 1]


def test_personal_frequency_puts_own_items_first_and_falls_back_to_popularity(lists):
    found = lists[1]["personal frequency"]
    assert found.overall.tolist() == [[1, 2, 3, 4], [1, 3, 2, 4]]
    assert found.first[0].tolist() == [3, 4, 0, 0]


def test_item_knn_recommends_items_bought_together():
    crowd = [[(1, 9), (2, 9)]] * 3 + [[(3, 9), (4, 9)]] * 4
    past = Past.of(_histories([(1, 1)]), _histories(*crowd), ITEMS, Spec(), 28)
    found = baseline_lists(past, 4)["item-kNN"]
    assert found.overall[0].tolist() == [1, 2, 3, 4]
    assert found.first[0].tolist() == [2, 3, 4, 0]


def test_a_shop_without_any_purchase_answers_with_empty_lists():
    past = Past.of(_histories([(1, 1, VIEW)]), _histories([(1, 1, VIEW)]), ITEMS, Spec(), 28)
    assert all((lists.overall == 0).all() for lists in baseline_lists(past, 4).values())


@settings(deadline=None)
@given(
    arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 12)), elements=st.integers(0, 4)), st.integers(1, 9)
)
def test_top_lists_are_the_head_of_a_stable_sort(scores, k):
    scores[:, 0] = 0
    expected = np.zeros((len(scores), k), np.int64)
    for row, own in enumerate(scores):
        ranked = [column for column in np.argsort(-own, kind="stable") if own[column] > 0][:k]
        expected[row, : len(ranked)] = ranked
    assert (top_lists(scores, k) == expected).all()
