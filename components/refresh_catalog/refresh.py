"""Updates a model's catalog: the trained item tower computes vectors, indexes are rebuilt, other files are copied.

An item without events has no trained embedding; its vector is computed from its category, brand, price and title words,
so it can be found and recommended before its first event.
"""

import functools
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from components.ingest_events.items import read_items
from components.refresh_catalog.encoding import Vocabularies
from components.refresh_catalog.merging import Refreshed, merge_items
from components.shared.errors import BundleError
from components.shared.evaluation.decision import Decision
from components.shared.features.catalog import Catalog
from components.shared.features.columns import ItemStatistic
from components.shared.features.content import CONTENT_COLUMN
from components.shared.features.spec import FeatureSpec
from components.shared.features.vocabulary import read_queries
from components.shared.progress import report, tell
from components.shared.recommender.neighbours import Neighbours
from components.shared.recommender.recommender import Recommender, concatenated, golden_answer
from components.shared.recommender.vector_index import VectorIndex
from components.shared.release.bundle import MANIFEST, SIGNATURE, verify
from components.shared.release.golden import GOLDEN, read_golden
from components.shared.release.registry import CHAMPION, Registry, Root
from components.shared.release.trust import trusted
from components.shared.schema.account import told
from components.shared.schema.data_options import DataOptions
from components.shared.search.documents import read_documents
from components.shared.search.searching import CatalogSearch, read_options
from components.shared.storage import atomic_directory, write_json

STAGE = "refresh_catalog"
ITEM_TOWER = Path("retriever") / "item.onnx"
_READ = (
    "item_id", "title", "description", "categories", "brand", "attributes", "price", "available", "created_at",
    CONTENT_COLUMN,
)  # fmt: skip
_BATCH = 8_192
_NOT_COPIED = ("items.parquet", MANIFEST, SIGNATURE, GOLDEN)
"""Files of a bundle that are not copied."""


def champion(registry: Root, name: str) -> Path:
    """Return the bundle of the champion.

    Raises:
        RegistryError: there is no champion.
    """
    return Registry(registry).resolve(f"{name}/{CHAMPION}")


def blessing(bundle: Path) -> Decision:
    """Return the decision for a version with the champion's model: blessed, with the metrics of its bundle."""
    manifest = verify(bundle, None)
    why = f"The model is that of {manifest.name}/{manifest.version}, which was blessed; only its catalog is newer."
    return Decision(True, (why,), dict(manifest.metrics))


def refresh(
    bundle: Path, items: str | Path, out: Path, public_key: str = "", data: Mapping[str, Any] | None = None
) -> Refreshed:
    """Write a compiled model for register_model: the bundle's model with its stored items and the given ones.

    Args:
        bundle: Signed bundle of a registry.
        items: File, folder, URI or glob of Parquet, CSV or JSON, read as ingest_events reads it; columns of the data
            contract (schema.ITEMS) that are missing and null values keep the stored values. Items that are not given
            are kept.
        out: Folder to write.
        public_key: Public key file to verify the bundle, whose successor is signed again; see trust.trusted.
        data: Options of DataOptions, of which mapping, preset, null_words and time_format are used.

    Raises:
        BundleError: the bundle is incomplete or not trusted, or was compiled by a release without item towers.
        InputError: an option is invalid, the items cannot be read, or a content vector does not fit the model.
        SchemaError: the items have no item_id, or lack a mapped column.
        DataError: no item is valid.
    """
    options = DataOptions.read(data or {}, "data")
    trusted(bundle, public_key)
    if not (bundle / ITEM_TOWER).exists():
        raise BundleError(f"{bundle / ITEM_TOWER} is missing", "compile the model again with this shoprank version")
    spec = FeatureSpec.read(bundle / "spec.json")
    with atomic_directory(out) as folder:
        result, read = _write_items(bundle, spec, _given(items, out, options), folder)
        report(STAGE, 0.3, f"{result.added:,} items added, {result.changed:,} changed")
        shutil.copytree(
            bundle, folder, ignore=lambda at, _: _NOT_COPIED if Path(at) == bundle else (), dirs_exist_ok=True
        )
        _index(folder, spec, read)
        refreshed = Recommender.open(folder)
        write_json(folder / GOLDEN, [golden_answer(refreshed, one.request) for one in read_golden(bundle)])
    report(STAGE, 1.0, f"{result.added + result.changed + result.same:,} items")
    return result


def _given(items: str | Path, beside: Path, options: DataOptions) -> pa.Table:
    """Read the used columns of the items; what is left out is told."""
    table, account = read_items(str(items), beside, options)
    for sentence in told({"items": account}):
        tell(STAGE, sentence)
    return table.select(_READ)


def _write_items(bundle: Path, spec: FeatureSpec, given: pa.Table, folder: Path) -> tuple[Refreshed, np.ndarray]:
    """Write the updated items.parquet; return the counts and the rows whose vectors must be computed.

    Both catalogs, which are large with content vectors, are released here before other files are read.
    """
    merged = merge_items(pq.read_table(bundle / "items.parquet"), given, Vocabularies.read(bundle, spec))
    pq.write_table(merged.table, folder / "items.parquet", compression="zstd")
    return merged.counts, merged.read


def _index(folder: Path, spec: FeatureSpec, rows: np.ndarray) -> None:
    """Compute the vectors of the given rows, then update all files with one entry per item."""
    catalog = Catalog.read(folder / "items.parquet", spec)
    vectors, bias = (np.load(folder / "retriever" / f"item_{name}.npy") for name in ("vectors", "bias"))
    more = len(catalog) - len(vectors)
    vectors = np.concatenate([vectors, np.zeros((more, vectors.shape[1]), np.float32)])
    bias = np.concatenate([bias, np.zeros(more, np.float32)])
    vectors[rows], bias[rows] = item_tower(folder / ITEM_TOWER, catalog, spec, rows)
    np.save(folder / "retriever" / "item_vectors.npy", vectors)
    np.save(folder / "retriever" / "item_bias.npy", bias)
    index = folder / "retriever" / "index.faiss"
    # Keep the choice of flat scan or graph: a measurement at compile time made it, not only the number of items.
    exact = VectorIndex.load(index).exact
    VectorIndex.build(vectors, bias, len(vectors) if exact else 0).save(index)
    statistics = np.load(folder / "statistics.npy")
    statistics = np.concatenate([statistics, np.zeros((more, statistics.shape[1]), np.float32)])
    np.save(folder / "statistics.npy", statistics)
    _index_texts(folder, statistics[:, ItemStatistic.POPULARITY_LONG])
    near = Neighbours.open(folder / "neighbours").similarity
    grown = sparse.csr_matrix((near.data, near.indices, np.r_[near.indptr, np.full(more, near.indptr[-1])]),
                              shape=(len(catalog), len(catalog)))  # fmt: skip
    shutil.rmtree(folder / "neighbours")
    Neighbours(grown).save(folder / "neighbours")


def _index_texts(folder: Path, asked: np.ndarray) -> None:
    search = folder / "search"
    options = read_options(search)
    previous = search.rename(folder / ".search-before")
    search.mkdir()
    documents = functools.partial(read_documents, folder / "items.parquet")
    CatalogSearch.build(documents, search, options, asked.tolist(), read_queries(folder), previous)
    shutil.rmtree(previous)


def item_tower(path: Path, catalog: Catalog, spec: FeatureSpec, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute vectors, float32 [rows, D], and biases, float32 [rows], with the exported item tower."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    widths = [(feature.name, feature.max_length) for feature in spec.item_features]
    found = [np.zeros((0, session.get_outputs()[0].shape[1]), np.float32)]
    for start in range(0, len(rows), _BATCH):
        part = {name: ragged.take(rows[start : start + _BATCH]) for name, ragged in catalog.features.items()}
        ids, weights = concatenated(part, widths)
        inputs = {"ids": ids, "weights": weights}
        if catalog.content is not None:
            inputs["content"] = catalog.content.inputs(rows[start : start + _BATCH])
        found.append(np.asarray(session.run(None, inputs)[0]))
    joined = np.concatenate(found)
    return joined[:, :-1], joined[:, -1]
