"""Writes lists.parquet: every shopper's list and metrics by method and scope, for pooling several seeds later."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.evaluate_model.compare import LIST_METRICS, Scope
from components.shared.features.ragged import offsets_of
from components.shared.recommender.recommender import Recommender

LISTS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("scope", pa.string(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("relevant", pa.int32(), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in LIST_METRICS),
        pa.field("items", pa.list_(pa.string()), nullable=False),
    ]
)
"""Schema of lists.parquet; `items` are item ids, best first, `relevant` counts the shopper's targets in the scope."""


def write_lists(path: Path, scopes: dict[str, Scope], shopper: np.ndarray, recommender: Recommender) -> None:
    """Write one row for each scope, method and shopper.

    Args:
        path: File to write.
        scopes: The measured scopes.
        shopper: int64 [rows of the split], shopper indexes.
        recommender: Source of item and user ids.
    """
    name_of = {row: name for name, row in recommender.user_row.items()}
    with pq.ParquetWriter(path, LISTS, compression="zstd") as writer:
        for scope in scopes.values():
            users = pa.array([name_of[int(row)] for row in shopper[scope.rows]], pa.string())
            for method, lists in scope.lists.items():
                columns = [
                    users, *(pa.array([text] * len(users), pa.string()) for text in (scope.name, method)),
                    pa.array(scope.relevant.lengths.astype(np.int32)),
                    *(pa.array(scope.metrics[method][name]) for name in LIST_METRICS),
                    _item_ids(lists, recommender.catalog.item_id),
                ]  # fmt: skip
                writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=LISTS))


def _item_ids(lists: np.ndarray, item_id: pa.StringArray) -> pa.ListArray:
    filled = lists > 0
    offsets = offsets_of(filled.sum(1)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), item_id.take(pa.array(lists[filled])))
