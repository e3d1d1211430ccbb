"""The handmade bundle with another catalog: items changed, taken off sale and added, as refresh_catalog would."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from components.shared.recommender.neighbours import Neighbours
from components.shared.recommender.recommender import Recommender
from components.shared.recommender.vector_index import VectorIndex
from components.shared.search.documents import read_documents
from components.shared.search.searching import CatalogSearch
from serving.engine import Engine


def refreshed(
    bundle: Path, folder: Path, changes: dict[str, dict[str, Any]], added: list[dict[str, Any]] | None = None
) -> Engine:
    """An engine of a copy of the bundle.

    Args:
        bundle: The bundle; it stays as it is.
        folder: Where to copy it.
        changes: New values of columns by item id.
        added: Values of columns of new items; others are as of the last item.
    """
    shutil.copytree(bundle, folder)
    table = pq.read_table(bundle / "items.parquet")
    rows = table.to_pylist()
    rows = [{**row, **changes.get(row["item_id"], {})} for row in rows]
    rows += [{**rows[-1], "created_at": None, **item} for item in added or []]
    pq.write_table(pa.Table.from_pylist(rows, table.schema), folder / "items.parquet")
    more = len(rows) - table.num_rows
    vectors, bias = (np.load(folder / "retriever" / f"item_{name}.npy") for name in ("vectors", "bias"))
    vectors = np.concatenate([vectors, np.zeros((more, vectors.shape[1]), np.float32)])
    VectorIndex.build(vectors, np.r_[bias, np.zeros(more, np.float32)]).save(folder / "retriever" / "index.faiss")
    statistics = np.load(folder / "statistics.npy")
    np.save(folder / "statistics.npy", np.concatenate([statistics, np.zeros((more, statistics.shape[1]), np.float32)]))
    near = Neighbours.open(folder / "neighbours").similarity
    grown = sparse.csr_matrix((near.data, near.indices, np.r_[near.indptr, np.full(more, near.indptr[-1])]),
                              shape=(len(rows), len(rows)))  # fmt: skip
    shutil.rmtree(folder / "neighbours")
    Neighbours(grown).save(folder / "neighbours")
    shutil.rmtree(folder / "search")
    (folder / "search").mkdir()
    CatalogSearch.build(lambda: read_documents(folder / "items.parquet"), folder / "search")
    return Engine(Recommender.open(folder), "refreshed", "bundle")
