"""Which items get a row: by counts, and by TorchRec's managed collision on the same events."""

import numpy as np
import pytest
from torchrec.modules.mc_modules import DistanceLFU_EvictionPolicy, LFU_EvictionPolicy

from components.shared.features.id_hashing import hashed_rows
from tests.benchmarks.quality.bounded_ids import counted, managed


@pytest.fixture
def events() -> tuple[np.ndarray, np.ndarray]:
    """Items and ages in days: 0 to 9 were frequent long ago, 10 to 19 less frequent but recent, 20 to 99 are rare."""
    random = np.random.default_rng(0)
    old, new = random.integers(0, 10, 30_000), random.integers(10, 20, 20_000)
    rare = random.integers(20, 100, 1_000)
    item = np.concatenate([old, rare, new])
    return item, np.linspace(100.0, 0.0, len(item))


def test_plain_counts_keep_frequent_items_and_decayed_counts_recent_ones(events):
    item, age = events
    assert np.flatnonzero(counted(item, age, 10, None)).tolist() == [*range(10)]
    assert np.flatnonzero(counted(item, age, 10, 7.0)).tolist() == [*range(10, 20)]
    assert counted(item, age, 20, 28.0)[:20].all()


@pytest.mark.parametrize("policy", [LFU_EvictionPolicy, DistanceLFU_EvictionPolicy])
def test_managed_collision_gives_frequent_items_their_own_rows(events, policy):
    item, _ = events
    ids = hashed_rows([str(one) for one in range(100)], 2**62)
    has, ms = managed(item, ids, 20, policy())
    assert has.sum() == 20 and has[:20].mean() > 0.9 and ms > 0
