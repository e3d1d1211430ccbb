"""Every dense input of the ranker against a slow reference in plain Python, one column at a time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.features.columns import POPULARITY_WINDOWS, DenseInput, ItemStatistic
from components.shared.features.pairs import Pairs, pair_features, summarise_pairs
from components.shared.schema.tables import DEFAULT_EVENT_WEIGHTS, EVENT_TYPES

DAY = 86_400
EVENT = st.tuples(st.integers(1, 8), st.sampled_from([*EVENT_TYPES, "purchase", "purchase"]), st.integers(1, 90 * DAY))
"""(item, event type, seconds before now); purchases are frequent, so that items are bought repeatedly."""
HISTORIES = st.lists(
    st.lists(EVENT, max_size=14).map(lambda row: sorted(row, key=lambda event: -event[2])), min_size=1, max_size=4
)
A_ROW = {
    ItemStatistic.POPULARITY_SHORT: 1, ItemStatistic.POPULARITY_MIDDLE: 3, ItemStatistic.POPULARITY_LONG: 7,
    ItemStatistic.BUYERS: 2, ItemStatistic.REPEAT_RATE: 0.1, ItemStatistic.DISCOVERY_SHORT: 0.5,
    ItemStatistic.DISCOVERY_MIDDLE: 1.5, ItemStatistic.POPULARITY_DECAYED: 11,
}  # fmt: skip
STATISTICS = np.arange(9, dtype=np.float32)[:, None] * np.array([A_ROW[name] for name in ItemStatistic], np.float32)


def decay(age_seconds: float, days: float) -> float:
    return 0.5 ** (age_seconds / DAY / days)


def weight(event) -> float:
    return DEFAULT_EVENT_WEIGHTS[event[1]] * decay(event[2], 30)


def own_item_features(row, item: int, now: int) -> dict[str, float]:
    events = [event for event in row if event[0] == item]
    bought = [event[2] for event in events if event[1] == "purchase"]
    days = len({(now - age) // DAY for age in bought})
    since = min(bought, default=0) / DAY
    gap = (max(bought, default=0) - min(bought, default=0)) / DAY / max(days - 1, 1)
    ratio = min(since / max(gap, 1.0), 5.0) if days > 1 else 0.0
    visits = len({(now - event[2]) // DAY for event in row})
    return {
        "bought_before": float(bool(bought)),
        "times": math.log1p(len(bought)),
        "days_bought": math.log1p(days),
        **{f"recency_{days}": decay(min(bought), days) if bought else 0.0 for days in (7, 30, 90)},
        "recent_times": math.log1p(sum(decay(age, 30) for age in bought)),
        "since_over_gap": ratio,
        "due": math.exp(-abs(ratio - 1.0)) if ratio > 0 else 0.0,
        "share_of_visits": days / max(visits, 1),
        "any_weight": math.log1p(sum(map(weight, events))),
        "any_recency_7": decay(min(event[2] for event in events), 7) if events else 0.0,
    }


def user_features(row, now: int) -> dict[str, float]:
    visits = len({(now - event[2]) // DAY for event in row})
    span = row[0][2] / DAY if row else 0.0
    return {
        "user_events": math.log1p(len(row)),
        "user_visits": math.log1p(visits),
        "user_items": math.log1p(len({event[0] for event in row})),
        "user_recency": decay(row[-1][2], 30) if row else 0.0,
        "user_repeat_share": 1 - len({event[0] for event in row}) / len(row) if row else 0.0,
        "user_pace": math.log1p(30 * visits / max(span, 1.0)),
    }


def item_features(item: int) -> dict[str, float]:
    counted = dict(zip(ItemStatistic, STATISTICS[item].tolist(), strict=True))
    short, middle, long = (counted[name] for name in POPULARITY_WINDOWS)
    new_middle = counted[ItemStatistic.DISCOVERY_MIDDLE]
    return {
        "popularity_short": math.log1p(short), "popularity_middle": math.log1p(middle),
        "popularity_long": math.log1p(long), "trend": math.log1p(short) - math.log1p(long),
        "buyers": math.log1p(counted[ItemStatistic.BUYERS]),
        "repeat_rate": counted[ItemStatistic.REPEAT_RATE],
        "discovery_short": math.log1p(counted[ItemStatistic.DISCOVERY_SHORT]),
        "discovery_middle": math.log1p(new_middle),
        "discovery_share": new_middle / max(middle, 1.0),
    }  # fmt: skip


def price_features(shop, row, item: int) -> dict[str, float]:
    def scaled(value: float) -> float:
        return min(max((math.log1p(value) - 1.2) / 0.7, -5.0), 5.0)

    paid = [scaled(shop.prices[event[0]]) for event in row if not math.isnan(shop.prices[event[0]])]
    known = not math.isnan(shop.prices[item])
    here = scaled(shop.prices[item]) if known else 0.0
    return {"price": here, "price_gap": here - sum(paid) / len(paid) if known and paid else 0.0,
            "has_price": float(known)}  # fmt: skip


def affinity_features(shop, row, item: int) -> dict[str, float]:
    total = max(sum(map(weight, row)), 1e-9)
    path, found = shop.categories[item], []
    for level in range(3):
        value = path[min(level, len(path) - 1)] if path else 0
        found.append(sum(weight(event) for event in row if value in shop.categories[event[0]]) if value else 0.0)
    brand = shop.brands[item]
    same = sum(weight(event) for event in row if brand and shop.brands[event[0]] == brand)
    return {"category_root": found[0] / total, "category_middle": found[1] / total, "category_leaf": found[2] / total,
            "brand_affinity": same / total, "leaf_times": math.log1p(found[2])}  # fmt: skip


@settings(max_examples=60)
@given(HISTORIES)
def test_dense_inputs_match_the_reference(shop, histories_of, rows):
    catalog, spec, histories = shop.catalog(), shop.spec(), histories_of(rows)
    items = len(catalog)
    row, item = (grid.ravel() for grid in np.meshgrid(np.arange(len(rows)), np.arange(1, items), indexing="ij"))
    score = np.linspace(-1, 1, len(row)).astype(np.float32)
    near = np.linspace(0, 2, len(row)).astype(np.float32)
    pairs = Pairs(row, item, score, near, near / 2)
    found = pair_features(histories, summarise_pairs(histories, items, spec), pairs, catalog, STATISTICS, spec)
    assert found.dtype == np.float32 and np.isfinite(found).all()
    now = int(histories.now[0])
    for at, (position, what) in enumerate(zip(row.tolist(), item.tolist(), strict=True)):
        events = rows[position]
        expected = {
            **own_item_features(events, what, now), **user_features(events, now), **item_features(what),
            **price_features(shop, events, what), **affinity_features(shop, events, what),
            "similar": math.log1p(100 * float(near[at])), "similar_share": float(near[at]) / 2,
            "retrieval_score": float(score[at]),
        }  # fmt: skip
        names = [column.label for column in DenseInput]
        assert list(expected) == names
        assert dict(zip(names, found[at].tolist(), strict=True)) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_weekly_purchase_is_due_after_a_week(shop, histories_of):
    spec, catalog = shop.spec(), shop.catalog()
    weekly = [(1, "purchase", age * DAY) for age in (28, 21, 14, 7)]
    histories = histories_of([weekly, [(1, "purchase", 28 * DAY), (1, "purchase", 1 * DAY)]])
    zeros = np.zeros(2, np.float32)
    pairs = Pairs(np.array([0, 1]), np.array([1, 1]), zeros, zeros, zeros)
    dense = pair_features(histories, summarise_pairs(histories, len(catalog), spec), pairs, catalog, STATISTICS, spec)
    due = dense[:, DenseInput.DUE]
    assert due[0] == pytest.approx(1.0)
    assert due[1] < 0.5


def test_no_pairs_give_no_rows(shop, histories_of):
    catalog, spec, histories = shop.catalog(), shop.spec(), histories_of([[]])
    nothing, zeros = np.zeros(0, np.int64), np.zeros(0, np.float32)
    none = Pairs(nothing, nothing, zeros, zeros, zeros)
    dense = pair_features(histories, summarise_pairs(histories, len(catalog), spec), none, catalog, STATISTICS, spec)
    assert dense.shape == (0, len(DenseInput))
