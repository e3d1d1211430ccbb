"""The history store against a loop over a list of events."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.features.history import COLUMNS, Histories, HistoryStore

EVENT = st.tuples(st.integers(0, 40), st.integers(1, 9), st.integers(0, 4), st.floats(0, 99, width=32))
"""(timestamp, item, event type, price)."""
SHOPPERS = st.lists(st.lists(EVENT, max_size=12).map(sorted), max_size=5)


def store_of(shoppers: list[list[tuple]], known: int) -> HistoryStore:
    """Store in which shopper i + 1 has the events of list i; shopper 0 is the unknown shopper."""
    flat = [event for events in shoppers for event in events]
    fields = dict(zip(("timestamp", "item", "event_type", "price"), range(4), strict=True))
    columns = {name: np.array([event[fields[name]] for event in flat], dtype) for name, dtype in COLUMNS.items()}
    return HistoryStore(np.r_[0, 0, np.cumsum([len(events) for events in shoppers])].astype(np.int64), columns, known)


def rows_of(histories: Histories) -> list[list[tuple]]:
    events = list(
        zip(histories.timestamp.tolist(), histories.item.tolist(), histories.event_type.tolist(),
            histories.price.tolist(), strict=True)
    )  # fmt: skip
    edges = histories.offsets.tolist()
    return [events[start:end] for start, end in itertools.pairwise(edges)]


@given(SHOPPERS, st.data())
def test_before_returns_the_latest_events_strictly_before_each_time(shoppers, data):
    known = data.draw(st.integers(0, len(shoppers)))
    queries = data.draw(st.lists(st.tuples(st.integers(0, len(shoppers)), st.integers(-1, 42)), max_size=8))
    limit = data.draw(st.integers(1, 14))
    who, now = (np.array([pair[side] for pair in queries], np.int64) for side in (0, 1))
    found = store_of(shoppers, known).before(who, now, limit)
    expected = [
        [event for event in ([] if one == 0 else shoppers[one - 1]) if event[0] < time][-limit:]
        for one, time in queries
    ]
    assert rows_of(found) == expected
    assert found.user.tolist() == [one if one <= known else 0 for one, _ in queries]
    assert found.row.tolist() == [row for row, events in enumerate(expected) for _ in events]


@given(SHOPPERS, st.integers(0, 13))
def test_last_keeps_the_newest_events_of_every_row(shoppers, count):
    store = store_of(shoppers, len(shoppers))
    everyone = np.arange(len(shoppers) + 1)
    found = store.before(everyone, np.full(len(everyone), 100), 50).last(count)
    assert rows_of(found) == [events[len(events) - min(count, len(events)) :] for events in [[], *shoppers]]


def test_the_unknown_shopper_has_no_events():
    store = store_of([[(1, 2, 4, 3.0)]], 1)
    assert len(store.before(np.array([0]), np.array([10]), 5).item) == 0


def test_open_memory_maps_the_saved_columns(tmp_path):
    store = store_of([[(1, 2, 4, 3.0), (5, 7, 2, np.nan)], [(3, 3, 0, 1.5)]], 1)
    for name, column in store.columns.items():
        np.save(tmp_path / f"{name}.npy", column)
    np.save(tmp_path / "offsets.npy", store.offsets)
    opened = HistoryStore.open(tmp_path, 1)
    assert all(isinstance(column.base, np.memmap) for column in opened.columns.values())
    found = opened.before(np.array([2, 1]), np.array([9, 9]), 5)
    assert found.item.tolist() == [3, 2, 7] and found.user.tolist() == [0, 1]
    assert found.price[:2] == pytest.approx([1.5, 3.0]) and np.isnan(found.price[2])
