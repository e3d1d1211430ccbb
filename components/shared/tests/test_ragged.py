"""Ragged rows against plain lists of lists."""

import itertools

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from components.shared.features.ragged import Ragged, expand_ranges, group_sums, offsets_of, top_of_rows

IDS = st.integers(0, 1_000)
ROWS = st.lists(st.lists(st.tuples(IDS, st.floats(0, 4, width=32)), max_size=6), max_size=8)


def ragged(rows: list[list[tuple[int, float]]]) -> Ragged:
    flat = [pair for row in rows for pair in row]
    return Ragged(
        offsets_of(np.array([len(row) for row in rows], np.int64)),
        np.array([value for value, _ in flat], np.int64), np.array([weight for _, weight in flat], np.float32),
    )  # fmt: skip


def lists(found: Ragged) -> list[list[tuple[int, float]]]:
    edges = found.offsets.tolist()
    pairs = list(zip(found.values.tolist(), found.weights.tolist(), strict=True))
    return [pairs[start:end] for start, end in itertools.pairwise(edges)]


@given(ROWS, st.data())
def test_take_picks_rows_in_order_with_repeats(rows, data):
    picked = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10)) if rows else []
    assert lists(ragged(rows).take(np.array(picked, np.int64))) == [rows[row] for row in picked]


@given(ROWS, st.integers(1, 8))
def test_padded_fills_with_zeros_and_truncates(rows, width):
    ids, weights = ragged(rows).padded(width)
    expected = [[*row, *[(0, 0.0)] * width][:width] for row in rows]
    assert ids.shape == weights.shape == (len(rows), width)
    assert ids.dtype == np.int64 and weights.dtype == np.float32
    assert [list(zip(a, b, strict=True)) for a, b in zip(ids.tolist(), weights.tolist(), strict=True)] == expected


@given(ROWS, st.data())
def test_arrow_round_trip_of_sliced_columns(rows, data):
    values, weights = ragged(rows).to_arrow()
    start = data.draw(st.integers(0, len(rows)))
    back = Ragged.from_arrow(values.slice(start), weights.slice(start))
    assert lists(back) == rows[start:]
    mean = Ragged.from_arrow(values.slice(start))
    assert [[value for value, _ in row] for row in lists(mean)] == [[value for value, _ in row] for row in rows[start:]]
    for row in lists(mean):
        assert all(weight == np.float32(1 / len(row)) for _, weight in row)


def test_from_arrow_reads_an_empty_column():
    empty = Ragged.from_arrow(pa.array([], pa.list_(pa.int32())))
    assert len(empty) == 0 and len(empty.values) == 0


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 7)), max_size=12))
def test_expand_ranges_concatenates_ranges(ranges):
    starts, lengths = (np.array([pair[side] for pair in ranges], np.int64) for side in (0, 1))
    assert expand_ranges(starts, lengths).tolist() == [
        at for start, length in ranges for at in range(start, start + length)
    ]


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.0, 0.5, 1.0, 2.0])), max_size=30), st.integers(0, 5))
def test_top_of_rows_orders_by_row_then_score_then_position(entries, count):
    rows, scores = np.array([row for row, _ in entries], np.int64), np.array([score for _, score in entries])
    expected = []
    for row in sorted({row for row, _ in entries}):
        positions = [position for position, (other, _) in enumerate(entries) if other == row]
        expected += sorted(positions, key=lambda position: (-entries[position][1], position))[:count]
    assert top_of_rows(rows, scores, count).tolist() == expected


@given(st.lists(st.tuples(st.integers(0, 6) | st.integers(0, 10**12), st.integers(0, 8)), max_size=20))
def test_group_sums_adds_by_key(entries):
    keys, sums = group_sums(np.array([key for key, _ in entries], np.int64), np.array([n for _, n in entries], float))
    expected = {key: sum(n for other, n in entries if other == key) for key, _ in entries}
    assert dict(zip(keys.tolist(), sums.tolist(), strict=True)) == expected
    assert keys.tolist() == sorted(expected)
