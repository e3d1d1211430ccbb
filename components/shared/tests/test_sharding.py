"""Every sharding type, trained by two real processes, gives the same weights as one process."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from safetensors.numpy import load_file

from components.shared.storage import read_json
from components.shared.tests.starts import own_processes
from components.shared.tests.workers import run_small_worker
from components.shared.training.optimizer import Sharding

TYPES = get_args(Sharding)
BY_COLUMN = {"column_wise", "table_column_wise", "grid_shard"}
TOLERANCE = 2e-6
"""Absolute, on weights up to 0.6; 5e-7 was observed: float32 rounding of sums in another order."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> dict[int, Path]:
    """Number of processes -> folder with the results of each type; the same global batches in both."""
    root = tmp_path_factory.mktemp("sharding")
    with own_processes():  # ranks iterate over sets of strings in different orders
        for processes in (1, 2):
            run_small_worker(root / str(processes), processes, sharding=TYPES, epochs=1, checkpoint_every=10)
    return {processes: root / str(processes) for processes in (1, 2)}


def weights(trained: dict[int, Path], processes: int, sharding: str) -> dict[str, np.ndarray]:
    return load_file(trained[processes] / sharding / "weights.safetensors")


def max_difference(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    assert one.keys() == other.keys() and len(one) == 4
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("sharding", TYPES)
def test_two_processes_give_the_weights_of_one(trained, sharding):
    one, two = (weights(trained, processes, sharding) for processes in (1, 2))
    assert max_difference(one, two) < TOLERANCE
    loss, other = (read_json(trained[processes] / sharding / "curve.json")[-1]["loss"] for processes in (1, 2))
    assert loss == pytest.approx(other, rel=1e-6) and loss < 0.6, "a coin would be 0.69"
    distance = max_difference(weights(trained, 1, "table_wise"), two)
    assert distance > 100 * TOLERANCE if sharding in BY_COLUMN else distance < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("sharding", TYPES)
def test_table_shards_have_the_expected_shapes(trained, sharding):
    layout = read_json(trained[2] / sharding / "layout.json")
    shards = {
        "table_wise": [[301, 8]],
        "row_wise": [[150, 8], [151, 8]],
        "column_wise": [[301, 4], [301, 4]],
        "table_column_wise": [[301, 4], [301, 4]],
        "table_row_wise": [[150, 8], [151, 8]],
        "grid_shard": [[150, 4], [150, 4], [151, 4], [151, 4]],
        "data_parallel": [],
    }
    assert layout["long"] == [sharding, shards[sharding]]


@pytest.mark.slow
@pytest.mark.parametrize("sharding", TYPES)
def test_rows_with_a_gradient_are_recorded(trained, sharding):
    touched = load_file(trained[2] / sharding / "trained_rows.safetensors")
    assert touched.keys() == {name for name in weights(trained, 2, sharding) if "embedding_bags" in name}
    short, long = (touched[f"bags.embedding_bags.{name}.weight"] for name in ("short", "long"))
    assert np.flatnonzero(short).tolist() == list(range(0, 48, 2))
    assert long[:200].mean() > 0.99 and not long[200:].any()
