"""Streams: rows at most once per epoch, shuffled, the same for any number of ranks, random access, bounded memory."""

import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.errors import DataError, InputError
from components.shared.training.stream import ParquetStream, StreamConfig, in_order


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """1,000 rows in groups of 37: an id, and a list that repeats it id % 4 times."""
    path = tmp_path_factory.mktemp("stream") / "rows.parquet"
    ids = np.arange(1_000)
    lists = pa.array([[int(row)] * (row % 4) for row in ids], pa.list_(pa.int32()))
    pq.write_table(pa.table({"id": ids, "list": lists, "unread": ids}), path, row_group_size=37)
    return path


def stream(path, part=slice(0, 32), **changes):
    return ParquetStream(path, ["id", "list"], StreamConfig(batch_size=32, shards=4, window=2, **changes), part)


def ids(table):
    return table.column("id").to_pylist()


def test_epochs_contain_almost_every_row_once_in_different_orders(file):
    whole = stream(file)
    epochs = [[ids(whole.batch(epoch, step)) for step in range(whole.steps_per_epoch)] for epoch in (0, 1)]
    for batches in epochs:
        seen = [row for batch in batches for row in batch]
        assert all(len(batch) == 32 for batch in batches) and len(seen) == len(set(seen))
        assert len(seen) >= 0.85 * 1_000, "the rest of the larger shards waits for another epoch"
    assert epochs[0] != epochs[1]
    missed = set(range(1_000)) - {row for batch in epochs[0] for row in batch}
    assert missed - (set(range(1_000)) - {row for batch in epochs[1] for row in batch}), "not always the same rows"


def test_batches_are_shuffled(file):
    first = np.array(ids(stream(file).batch(0, 0)))
    assert len(np.unique(first // 37)) >= 6 and (np.diff(first) < 0).sum() > 8
    assert ids(stream(file, seed=1).batch(0, 0)) != first.tolist()


def test_lists_stay_with_their_row(file):
    table = stream(file).batch(0, 3)
    assert table.column_names == ["id", "list"] and table.column("list").num_chunks == 1
    assert table.column("list").to_pylist() == [[row] * (row % 4) for row in ids(table)]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 3), st.lists(st.integers(0, 25), min_size=1, max_size=6))
def test_random_access_returns_the_batches_of_a_sequential_run(file, epoch, steps):
    sequential, random_access = stream(file), stream(file)
    steps = [step % sequential.steps_per_epoch for step in steps]
    expected = {step: ids(sequential.batch(epoch, step)) for step in sorted(set(steps))}
    for step in steps:
        assert ids(random_access.batch(epoch, step)) == expected[step]


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_split_the_batch_of_a_single_rank(file, ranks):
    whole, size = stream(file), 32 // ranks
    shared = [stream(file, slice(rank * size, (rank + 1) * size)) for rank in range(ranks)]
    for step in range(whole.steps_per_epoch):
        together = [row for part in shared for row in ids(part.batch(2, step))]
        assert together == ids(whole.batch(2, step))
    assert {part.steps_per_epoch for part in shared} == {whole.steps_per_epoch}


def test_column_is_read_group_by_group(file):
    groups = list(stream(file).column("id"))
    assert max(map(len, groups)) == 37
    assert [row for group in groups for row in group.to_pylist()] == list(range(1_000))


def test_memory_is_bounded_by_the_windows(tmp_path):
    path = tmp_path / "large.parquet"
    rows = np.arange(400_000)
    pq.write_table(pa.table({"id": rows, "list": rows}), path, row_group_size=1_000)
    pool = pa.default_memory_pool()
    whole = ParquetStream(path, ["id", "list"], StreamConfig(batch_size=400, shards=8, window=2), slice(0, 400))
    before, most = pool.bytes_allocated(), 0
    for step in range(whole.steps_per_epoch):
        whole.batch(0, step)
        most = max(most, pool.bytes_allocated() - before)
    assert most < 8 * 4 * 1_000 * 16 < 400_000 * 16 / 10


def test_more_ranks_than_shards_read_disjoint_rows(file):
    parts = [ParquetStream(file, ["id"], StreamConfig(batch_size=32, shards=4), slice(at, at + 4))
             for at in range(0, 32, 4)]  # fmt: skip
    seen = [part.batch(0, step)["id"].to_pylist() for part in parts for step in range(part.steps_per_epoch)]
    assert {len(batch) for batch in seen} == {4}
    ids = [one for batch in seen for one in batch]
    assert len(ids) == len(set(ids)) >= 0.8 * 1_000


def test_indivisible_batches_and_too_small_files_are_refused(file, tmp_path):
    with pytest.raises(InputError, match="a batch of 30 rows in 4 shards"):
        ParquetStream(file, ["id"], StreamConfig(batch_size=30, shards=4), slice(0, 30))
    with pytest.raises(InputError, match="cannot be cut at 0 and 10"):
        stream(file, slice(0, 10))
    pq.write_table(pa.table({"id": np.arange(10)}), tmp_path / "few.parquet")
    with pytest.raises(DataError, match="1 row groups, fewer than 8 shards"):
        ParquetStream(tmp_path / "few.parquet", ["id"], StreamConfig(batch_size=8), slice(0, 8))
    with pytest.raises(DataError, match="its smallest shard has 223 rows, a batch takes 1000"):
        ParquetStream(file, ["id"], StreamConfig(batch_size=4_000, shards=4), slice(0, 4_000))


def test_several_files_are_read_as_one(file, tmp_path):
    table = pq.read_table(file)
    cuts = (0, 37 * 11, 37 * 12, len(table))
    for at, (start, end) in enumerate(itertools.pairwise(cuts)):
        pq.write_table(table[start:end], tmp_path / f"{at}.parquet", row_group_size=37)
    whole, parts = stream(file), stream(sorted(tmp_path.iterdir()))
    assert parts.steps_per_epoch == whole.steps_per_epoch
    for step in range(whole.steps_per_epoch):
        assert parts.batch(1, step).equals(whole.batch(1, step))
    assert [one for group in parts.column("id") for one in group.to_pylist()] == list(range(1_000))


def test_files_with_different_columns_are_refused(file, tmp_path):
    table = pq.read_table(file, columns=["id"])
    pq.write_table(table.set_column(0, "id", table["id"].cast(pa.int16())), tmp_path / "other.parquet")
    with pytest.raises(DataError, match=r"other.parquet differ in columns: id \(int64 and int16\), list \(.* and abs"):
        stream([file, tmp_path / "other.parquet"])


@pytest.mark.parametrize("rows", [1, 10, 37, 64, 5_000])
def test_in_order_splits_a_file_regardless_of_its_row_groups(file, rows):
    parts = list(in_order(file, rows))
    assert pa.concat_tables(parts).equals(pq.read_table(file))
    assert {len(part) for part in parts[:-1]} <= {rows} and 0 < len(parts[-1]) <= rows
    assert all(column.num_chunks == 1 for part in parts for column in part.columns)
    narrow = list(in_order(file, rows, ["list", "id"]))
    assert narrow[-1].column_names == ["list", "id"]
    assert [ids(part) for part in narrow] == [ids(part) for part in parts]


def test_in_order_memory_is_independent_of_the_number_of_row_groups(tmp_path):
    pool, values = pa.default_memory_pool(), np.random.default_rng(0).integers(0, 2**60, 2_000_000)
    pq.write_table(pa.table({"id": values}), tmp_path / "large.parquet", row_group_size=10_000)
    before, most = pool.bytes_allocated(), 0
    for _ in in_order(tmp_path / "large.parquet", 3_000):
        most = max(most, pool.bytes_allocated() - before)
    # Arrow's threads may release the buffers of a group only after the next one was read.
    assert most < 6 * 10_000 * 8 < 2_000_000 * 8 / 10
