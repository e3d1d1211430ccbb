"""Pair sources, held or streamed: each shopper once per epoch, disjoint shares per rank, random access to batches."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.shared.errors import DataError
from components.shared.features.spec import FeatureSpec
from components.train_ranker.examples import GROUP_SHOPPERS, PairRows, count_pairs, write_pairs
from components.train_ranker.sources import BatchConfig, HeldPairs, StreamedPairs, ValidationPairs, pair_source

SHOPPERS = 40
"""Shoppers per file, in groups of five: 16 groups, so that 2, 4 or 8 shards have equal sizes."""
HELD, STREAMED = 10**9, 0
"""Values of held_pairs."""


@pytest.fixture(scope="module")
def spec(tiny_run) -> FeatureSpec:
    return FeatureSpec.read(tiny_run.features / "spec.json")


@pytest.fixture(scope="module")
def written(tiny_run, config, tmp_path_factory) -> Path:
    """The pairs of one split, as training writes them."""
    path = tmp_path_factory.mktemp("pairs") / "validation.parquet"
    write_pairs(tiny_run.features, tiny_run.retriever, "validation", path, config.candidates)
    return path


@pytest.fixture(scope="module")
def files(tiny_run, written, config, tmp_path_factory) -> list[Path]:
    """Some pairs of two splits."""
    folder = tmp_path_factory.mktemp("files")
    write_pairs(tiny_run.features, tiny_run.retriever, "ranker-0", folder / "whole.parquet", config.candidates)
    for name, path in (("a.parquet", folder / "whole.parquet"), ("b.parquet", written)):
        pq.write_table(pq.read_table(path)[:SHOPPERS], folder / name, row_group_size=5)
    return [folder / "a.parquet", folder / "b.parquet"]


@pytest.fixture
def make_source(files, spec):
    """Create a source for one of several ranks; `held` decides its type."""

    def make(held: int, shoppers: int = 8, rank: int = 0, world: int = 1):
        each = shoppers // world
        config = BatchConfig(shoppers=shoppers, held_pairs=held, seed=5)
        source = pair_source(files, spec, config, slice(rank * each, (rank + 1) * each))
        assert isinstance(source, HeldPairs if held else StreamedPairs)
        return source

    return make


def contents(pairs: PairRows) -> list[bytes]:
    """All features and pairs of each shopper, as bytes."""
    found = []
    for at in range(len(pairs)):
        one = pairs.take(np.array([at]))
        arrays = [one.item, one.label, one.dense, one.position]
        arrays += [array for ragged in one.features.values() for array in (ragged.values, ragged.weights)]
        found.append(b"|".join(array.tobytes() for array in arrays))
    return found


@pytest.mark.parametrize("held", [HELD, STREAMED], ids=["held", "streamed"])
def test_each_epoch_has_every_shopper_once_in_another_order(make_source, files, spec, held):
    everyone = contents(PairRows.read(files, spec))
    assert len(set(everyone)) == 2 * SHOPPERS
    source = make_source(held)
    epochs = [
        [one for step in range(source.steps_per_epoch) for one in contents(source.pairs(epoch, step))]
        for epoch in (0, 1)
    ]
    for shoppers in epochs:
        assert sorted(shoppers) == sorted(everyone)
    assert epochs[0] != epochs[1]
    mixed = [everyone.index(one) // SHOPPERS for one in contents(source.pairs(0, 0))]
    assert set(mixed) == {0, 1}, "moments are mixed"


@pytest.mark.parametrize("held", [HELD, STREAMED], ids=["held", "streamed"])
@pytest.mark.parametrize(("shoppers", "world"), [(8, 2), (8, 8), (10, 5)])
def test_ranks_have_disjoint_shares_whose_union_is_the_batch(make_source, held, shoppers, world):
    whole, ranks = make_source(held, shoppers), [make_source(held, shoppers, rank, world) for rank in range(world)]
    assert len({rank.steps_per_epoch for rank in ranks}) == 1
    for step in (0, ranks[0].steps_per_epoch - 1):
        shares = [contents(rank.pairs(1, step)) for rank in ranks]
        together = [one for share in shares for one in share]
        assert {len(share) for share in shares} == {shoppers // world} and len(set(together)) == shoppers
        if (held, world) != (STREAMED, 5):  # ten shoppers in eight shards at most: five ranks need shards of their own
            assert together == contents(whole.pairs(1, step))


@pytest.mark.parametrize("held", [HELD, STREAMED], ids=["held", "streamed"])
def test_any_batch_can_be_read_directly_as_in_a_sequential_run(make_source, held):
    sequential, direct = make_source(held), make_source(held)
    batches = {(epoch, step): contents(sequential.pairs(epoch, step)) for epoch in (0, 1) for step in range(10)}
    for position in ((1, 7), (0, 3), (1, 0)):
        assert contents(direct.pairs(*position)) == batches[position]


def test_fewer_shoppers_than_a_batch_give_a_smaller_batch(files, spec):
    few = PairRows.read(files, spec).take(np.arange(7))
    config = BatchConfig(shoppers=16, held_pairs=HELD, seed=5)
    halves = [HeldPairs(few, config, part) for part in (slice(0, 8), slice(8, 16))]
    assert [(half.batch, half.steps_per_epoch) for half in halves] == [(6, 1)] * 2
    drawn = [one for half in halves for one in contents(half.pairs(0, 0))]
    assert len(set(drawn)) == 6 and set(drawn) <= set(contents(few))


def test_validation_pairs_are_the_same_held_and_streamed(files, spec, tmp_path):
    path = tmp_path / "validation.parquet"
    pq.write_table(pa.concat_tables([pq.read_table(one) for one in files * 2]), path, row_group_size=7)
    held, streamed = ValidationPairs(path, spec, HELD), ValidationPairs(path, spec, STREAMED)
    for _ in range(2):
        parts = [contents(part) for part in streamed]
        assert [len(part) for part in parts] == [64, 64, 32]
        assert parts == [contents(part) for part in held]
        assert [one for part in parts for one in part] == contents(PairRows.read([path], spec))


def test_written_files_are_counted_by_footer_and_split_into_row_groups(written, spec):
    pairs, footer = PairRows.read([written], spec), pq.read_metadata(written)
    assert count_pairs([written, written]) == 2 * len(pairs.item)
    groups = [footer.row_group(at).num_rows for at in range(footer.num_row_groups)]
    assert sum(groups) == len(pairs) and max(groups) == GROUP_SHOPPERS


def test_error_for_files_that_cannot_be_streamed_names_them(files, spec, tmp_path):
    table, config = pq.read_table(files[1]), BatchConfig(shoppers=8, held_pairs=STREAMED, seed=5)
    pq.write_table(table, tmp_path / "one-group.parquet")
    with pytest.raises(DataError, match=r"one-group.parquet has 1 row groups, fewer than 8 shards"):
        pair_source([tmp_path / "one-group.parquet"], spec, config, slice(0, 8))
    soft = table["label"].combine_chunks().cast(pa.list_(pa.float32()))
    table = table.set_column(table.schema.get_field_index("label"), "label", soft)
    pq.write_table(table, tmp_path / "soft.parquet", row_group_size=5)
    with pytest.raises(DataError, match=r"a.parquet and .*soft.parquet differ in columns: label \(list<.*int8> and "):
        pair_source([files[0], tmp_path / "soft.parquet"], spec, config, slice(0, 8))


_READ = """
import sys
from pathlib import Path
from components.shared.features.spec import FeatureSpec
from components.train_ranker.sources import BatchConfig, ValidationPairs, pair_source
from components.train_ranker.totals import Totals
path, spec, held = Path(sys.argv[1]), FeatureSpec.read(Path(sys.argv[2])), int(sys.argv[3])
Totals.read([path])
source = pair_source([path], spec, BatchConfig(shoppers=8, held_pairs=held, seed=0), slice(0, 8))
shoppers = sum(len(source.pairs(0, step)) for step in range(source.steps_per_epoch))
shoppers += sum(map(len, ValidationPairs(path, spec, held)))
# Not ru_maxrss: a new process begins with that of the one that started it.
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print("peak", int(peak.split()[1]) // 1024, shoppers)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_streaming_three_times_the_pairs_needs_little_more_memory(written, tiny_run, tmp_path):
    table, pairs = pq.read_table(written), count_pairs([written])

    def peak(thousands: int, held: int) -> int:
        """Peak MB of a process that reads what the parent and the worker of a training read."""
        path, times = tmp_path / "pairs.parquet", round(thousands * 1_000 / pairs)
        pq.write_table(pa.concat_tables([table] * times), path, row_group_size=GROUP_SHOPPERS, compression="zstd")
        command = [sys.executable, "-W", "ignore", "-c", _READ, path, tiny_run.features / "spec.json", str(held)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert not done.returncode, done.stderr
        used, shoppers = map(int, done.stdout.rsplit("peak ", 1)[1].split())
        assert shoppers > 1.9 * times * table.num_rows
        return used

    few, many, held = peak(200, STREAMED), peak(600, STREAMED), peak(600, HELD)
    measured = f"{few} MB for 200,000 streamed pairs, {many} MB for 600,000; {held} MB for as many held ones"
    print(measured)
    assert many < few + 40 and held > many + 60, measured
