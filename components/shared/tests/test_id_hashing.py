"""Hashed ids: the same rows on every machine, an even spread, and the expected number of collisions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.features.id_hashing import Collisions, hashed_rows


def test_rows_of_known_ids_never_change():
    """Fixed values: trained models have embeddings at these rows."""
    assert hashed_rows(["", "sku-1", "燕麦奶"], 1_000_000).tolist() == [838756, 549517, 73786]


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True, max_size=50), st.integers(1, 40))
def test_rows_depend_on_the_id_alone_and_collisions_are_counted(ids, rows):
    found = hashed_rows(ids, rows)
    assert found.dtype == np.int64 and ((found >= 0) & (found < rows)).all()
    assert hashed_rows(ids[::-1], rows).tolist() == found[::-1].tolist()
    listed = found.tolist()
    counted = Collisions.of(found, rows)
    assert counted.counted * len(ids) == pytest.approx(sum(listed.count(row) > 1 for row in listed))
    assert (counted.ids, counted.rows) == (len(ids), rows)


@pytest.mark.parametrize(("count", "rows"), [(2_000, 1_000), (2_000, 20_000), (500, 1)])
def test_collision_share_matches_a_uniform_hash(count, rows):
    ids = [f"item {number}" for number in range(count)]
    found = Collisions.of(hashed_rows(ids, rows), rows)
    assert found.expected == pytest.approx(1 - (1 - 1 / rows) ** (count - 1))
    # Five standard deviations of a share of `count` ids, doubled because colliding ids come in pairs.
    assert abs(found.counted - found.expected) <= 10 * np.sqrt(max(found.expected * (1 - found.expected), 0) / count)


def test_single_id_has_no_collisions():
    assert Collisions.of(hashed_rows(["a"], 1), 1).metrics() == {
        "hashed_items": 1.0, "hash_rows": 1.0, "hash_collisions_expected": 0.0, "hash_collisions_counted": 0.0,
    }  # fmt: skip
