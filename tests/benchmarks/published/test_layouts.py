"""Irregular data sets of each layout: repeated rows, users without a test item, unknown split values."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from components.shared.errors import DataError
from components.shared.tests.ragged_lists import rows_of
from tests.benchmarks.published.judging import criterion, judge
from tests.benchmarks.published.layouts import read_layout


def write(folder, **tables):
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    return folder


def visits(*users, last=("valid", "test")):
    """Leave-one-out columns of users with these numbers of items, which are 1, 2, 3 and so on."""
    split = [name for count in users for name in (["train"] * count + list(last))[-count:]]
    return {
        "user_id": np.repeat(np.arange(len(users)), users), "split": split,
        "item_id": np.concatenate([np.arange(count) + 1 for count in users]),
        "position": np.concatenate([np.arange(count) for count in users]),
    }  # fmt: skip


def test_users_without_a_test_item_are_trained_on_but_not_evaluated(tmp_path):
    columns = visits(5, 4, 3)
    columns["split"][-3:] = ["train"] * 3
    layout = read_layout(write(tmp_path, interactions=columns))
    assert len(layout.test.train) == 3 and len(layout.test.queries) == len(layout.validation.queries) == 2
    assert rows_of(layout.test.relevant) == [[5], [4]] and rows_of(layout.validation.relevant) == [[4], [3]]
    found = judge(lambda queries: torch.zeros(len(queries), layout.items), layout, layout.validation)
    assert np.isfinite(criterion(found))


def test_unknown_split_value_is_named(tmp_path):
    columns = visits(5, 4, last=("validation", "test"))
    with pytest.raises(DataError, match="'split' has the value 'validation'"):
        read_layout(write(tmp_path, interactions=columns))


@pytest.mark.parametrize(("last", "part"), [(("valid", "valid"), "test"), (("test", "test"), "valid")])
def test_empty_split_is_named(tmp_path, last, part):
    with pytest.raises(DataError, match=f"nothing is left of the {part} part"):
        read_layout(write(tmp_path, interactions=visits(5, 4, last=last)))


def test_sets_are_deduplicated_and_test_items_exclude_training_items(tmp_path):
    train = {"user_id": [7, 7, 7, 7, 8, 8], "item_id": [30, 10, 30, 20, 10, 40]}
    test = {"user_id": [7, 7, 7, 8, 8], "item_id": [40, 40, 50, 40, 50]}
    layout = read_layout(write(tmp_path, train=train, test=test))
    assert rows_of(layout.test.train) == [[3, 1, 2], [1, 4]] and rows_of(layout.test.relevant) == [[4, 5], [5]]
    assert layout.counts == (6, 2, 5)
    for hidden, kept in zip(rows_of(layout.validation.relevant), rows_of(layout.validation.queries), strict=True):
        assert not set(hidden) & set(kept)


def test_nan_validation_metrics_are_refused():
    with pytest.raises(DataError, match="validation's metrics are"):
        criterion({"HR@10": 0.5, "NDCG@10": float("nan")})
