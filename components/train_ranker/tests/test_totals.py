"""Totals of pair files: mean and standard deviation match numpy on all rows, however the rows are split."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.features.spec import FeatureSpec
from components.train_ranker.examples import PairRows, write_pairs
from components.train_ranker.totals import Spread, Totals


def spread(parts: list[np.ndarray]) -> Spread:
    found = Spread.none(parts[0].shape[1])
    for part in parts:
        found = found.joined(Spread.of(part))
    return found


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32), rows=st.integers(1, 400), cuts=st.lists(st.integers(0, 400), max_size=8),
    far=st.sampled_from([0.0, 1.0, -3e3, 1e6]), wide=st.sampled_from([0.0, 1e-2, 1.0, 1e4]),
)  # fmt: skip
def test_mean_and_deviation_do_not_depend_on_how_rows_are_split(seed, rows, cuts, far, wide):
    whole = (far + wide * np.random.default_rng(seed).standard_normal((rows, 3))).astype(np.float32)
    found = spread(np.split(whole, sorted(min(cut, rows) for cut in cuts)))
    exact = whole.astype(np.float64)
    assert found.count == rows
    np.testing.assert_allclose(found.mean, exact.mean(0), rtol=1e-12, atol=1e-12 * wide)
    np.testing.assert_allclose(found.std, exact.std(0), rtol=1e-9, atol=1e-12 * abs(far))


def test_small_deviation_far_from_zero_keeps_precision():
    whole = 1e6 + 0.25 * np.random.default_rng(1).integers(-2, 3, (40_000, 2)).astype(np.float64)
    parts = np.split(whole, 400)
    np.testing.assert_allclose(spread(parts).std, whole.std(0), rtol=1e-9)
    naive = np.square(whole.astype(np.float32)).mean(0) - np.square(whole.astype(np.float32).mean(0))
    assert not np.allclose(naive, whole.var(0), rtol=0.1), "sums of squares would have lost it"


@pytest.fixture(scope="module")
def paths(tiny_run, config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("totals")
    for split in ("ranker-0", "validation"):
        write_pairs(tiny_run.features, tiny_run.retriever, split, folder / f"{split}.parquet", config.candidates)
    return sorted(folder.iterdir())


def test_totals_of_files_match_their_pairs(paths, tiny_run):
    pairs, found = PairRows.read(paths, FeatureSpec.read(tiny_run.features / "spec.json")), Totals.read(paths)
    assert (found.shoppers, found.dense.count, found.wanted) == (len(pairs), len(pairs.item), True)
    np.testing.assert_allclose(found.dense.mean, pairs.dense.mean(0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(found.dense.std, pairs.dense.std(0, dtype=np.float64), rtol=1e-12, atol=1e-12)


def test_totals_of_a_file_without_pairs_are_zero(paths, tmp_path):
    table = pq.read_table(paths[0]).slice(0, 0)
    pq.write_table(table, tmp_path / "none.parquet")
    totals = Totals.read([tmp_path / "none.parquet"])
    assert (totals.shoppers, totals.wanted, totals.dense.count) == (0, False, 0)
    assert not totals.dense.std.any()
