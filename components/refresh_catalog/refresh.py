"""A servable model over today's catalogue: vectors by the trained item tower, indexes anew, everything else as it was.

An item without events has no embedding of its own; its category, brand, price and title words place it among the
items that the model knows, so it can be found and recommended before anybody has touched it.
"""

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.core import url_to_fs
from scipy import sparse

from components.refresh_catalog.encoding import Entry, Vocabularies
from components.shared.bundle import MANIFEST, SIGNATURE, verify
from components.shared.catalog import Catalog
from components.shared.content import CONTENT_COLUMN
from components.shared.decision import Decision
from components.shared.errors import BundleError, InputError
from components.shared.feature_spec import FeatureSpec
from components.shared.golden import GOLDEN, read_golden
from components.shared.lexical import LexicalIndex, catalog_texts
from components.shared.neighbours import Neighbours
from components.shared.progress import report
from components.shared.recommender import Recommender, golden_answer, side_by_side
from components.shared.registry import CHAMPION, Registry
from components.shared.storage import atomic_directory, write_json
from components.shared.trust import trusted
from components.shared.vector_index import VectorIndex

STAGE = "refresh_catalog"
ITEM_TOWER = Path("retriever") / "item.onnx"
_READ = ("item_id", "title", "categories", "brand", "price", "available", CONTENT_COLUMN)
_BATCH = 8_192
_FEATURES = ("category_ids", "brand_ids", "price_bucket_ids", "title_ids")


@dataclass(frozen=True)
class Refreshed:
    """What became of the catalogue.

    Attributes:
        added, changed, same: items. unknown_categories, unknown_brands: labels that the model has no name for.
    """

    added: int
    changed: int
    same: int
    unknown_categories: int
    unknown_brands: int

    def metrics(self) -> dict[str, float]:
        """The counts, by metric name."""
        return {name: float(value) for name, value in dataclasses.asdict(self).items()}


def champion(registry: Path, name: str) -> Path:
    """Bundle of the champion.

    Raises:
        RegistryError: there is none.
    """
    return Registry(registry).resolve(f"{name}/{CHAMPION}")


def blessing(bundle: Path) -> Decision:
    """The decision under which the bundle became champion, for the version with the same model."""
    manifest = verify(bundle, None)
    why = f"The model is that of {manifest.name}/{manifest.version}, which was blessed; only its catalogue is newer."
    return Decision(True, (why,), dict(manifest.metrics))


def refresh(bundle: Path, items: str | Path, out: Path, public_key: str = "") -> Refreshed:
    """Write what register_model needs: the bundle's model over its own items and the given ones.

    Args:
        bundle: Signed bundle of a registry.
        items: Parquet file, or folder of them, or its URI, in the data contract's form (schema.ITEMS); columns that are
            missing or null leave what is known of an item. Items that are not named stay.
        out: Folder to write.
        public_key: File of the key that must have signed the bundle, whose successor is signed anew; see trust.trusted.

    Raises:
        BundleError: the bundle is not whole or not trusted, or was compiled by a release without item towers.
        InputError: the items cannot be read, one has no id, or its content vector does not fit the model.
    """
    trusted(bundle, public_key)
    if not (bundle / ITEM_TOWER).exists():
        raise BundleError(f"{bundle / ITEM_TOWER} is missing", "compile the model again with this release")
    spec = FeatureSpec.read(bundle / "spec.json")
    table = pq.read_table(bundle / "items.parquet")
    vocabularies = Vocabularies.read(bundle, spec)
    entries, result = _merged(table, _given(items), vocabularies)
    report(STAGE, 0.3, f"{result.added:,} items added, {result.changed:,} changed")
    with atomic_directory(out) as folder:
        shutil.copytree(bundle, folder, dirs_exist_ok=True)
        for stale in (MANIFEST, SIGNATURE, GOLDEN):
            (folder / stale).unlink(missing_ok=True)
        rows = [{"row": row, **entry} for row, entry in enumerate(entries)]
        pq.write_table(pa.Table.from_pylist(rows, table.schema), folder / "items.parquet", compression="zstd")
        _index(folder, spec, _reread(table, entries))
        golden = [golden_answer(Recommender.open(folder), one.request) for one in read_golden(bundle)]
        write_json(folder / GOLDEN, golden)
    report(STAGE, 1.0, f"{len(entries) - 1:,} items")
    return result


def _given(items: str | Path) -> list[Entry]:
    try:
        filesystem, path = url_to_fs(str(items))
        table = pq.read_table(path, filesystem=filesystem)
    except (OSError, ValueError) as error:
        raise InputError(f"items {items}: {str(error).splitlines()[0]}", "give Parquet as ingest_events writes it"
                         ) from error  # fmt: skip
    if "item_id" not in table.column_names:
        raise InputError(f"items {items}: column 'item_id' is missing", f"it has: {', '.join(table.column_names)}")
    if table["item_id"].null_count:
        raise InputError(f"items {items}: {table['item_id'].null_count} rows have no item_id", "leave them out")
    return table.select([name for name in _READ if name in table.column_names]).to_pylist()


def _merged(table: pa.Table, given: list[Entry], names: Vocabularies) -> tuple[list[Entry], Refreshed]:
    """Entries of the whole catalogue, the unknown item first; rows that exist keep their place."""
    entries = table.drop_columns("row").to_pylist()
    place = {entry["item_id"]: row for row, entry in enumerate(entries) if row}
    known, touched = len(entries), set()
    for item in given:
        told = {name: value for name, value in item.items() if value is not None}
        names.check_content(told)
        if "price" in told:
            told["list_price"] = told["price"]
        row = place.setdefault(told["item_id"], len(entries))
        if row == len(entries):
            entries.append(_blank(told["item_id"], table.schema))
        before = entries[row]
        entries[row] = names.encoded({**before, **told})
        if row < known and entries[row] != before:
            touched.add(row)
    added = len(entries) - known
    counts = (len(names.unknown["category"]), len(names.unknown["brand"]))
    return entries, Refreshed(added, len(touched), known - 1 - len(touched), *counts)


def _blank(item_id: str, schema: pa.Schema) -> Entry:
    blank: dict[str, Any] = dict.fromkeys(schema.names)
    blank.pop("row")
    return blank | {"item_id": item_id, "title": item_id, "brand": "", "categories": [], "available": True}


def _reread(table: pa.Table, entries: list[Entry]) -> np.ndarray:
    """Catalogue rows whose vectors must be made: those that are new or read differently."""
    read = [name for name in (*_FEATURES, CONTENT_COLUMN) if name in table.column_names]
    before = table.select(read).to_pylist()
    return np.array(
        [row for row, entry in enumerate(entries)
         if row and (row >= len(before) or any(entry[name] != before[row][name] for name in read))], np.int64
    )  # fmt: skip


def _index(folder: Path, spec: FeatureSpec, rows: np.ndarray) -> None:
    """Vectors of the named rows, then everything that has a place for each item."""
    catalog = Catalog.read(folder / "items.parquet", spec)
    vectors, bias = (np.load(folder / "retriever" / f"item_{name}.npy") for name in ("vectors", "bias"))
    more = len(catalog) - len(vectors)
    vectors = np.concatenate([vectors, np.zeros((more, vectors.shape[1]), np.float32)])
    bias = np.concatenate([bias, np.zeros(more, np.float32)])
    vectors[rows], bias[rows] = item_tower(folder / ITEM_TOWER, catalog, spec, rows)
    np.save(folder / "retriever" / "item_vectors.npy", vectors)
    np.save(folder / "retriever" / "item_bias.npy", bias)
    VectorIndex.build(vectors, bias).save(folder / "retriever" / "index.faiss")
    shutil.rmtree(folder / "lexical")
    (folder / "lexical").mkdir()
    LexicalIndex.build(catalog_texts(catalog)).save(folder / "lexical")
    statistics = np.load(folder / "statistics.npy")
    np.save(folder / "statistics.npy", np.concatenate([statistics, np.zeros((more, statistics.shape[1]), np.float32)]))
    near = Neighbours.open(folder / "neighbours").similarity
    grown = sparse.csr_matrix((near.data, near.indices, np.r_[near.indptr, np.full(more, near.indptr[-1])]),
                              shape=(len(catalog), len(catalog)))  # fmt: skip
    shutil.rmtree(folder / "neighbours")
    Neighbours(grown).save(folder / "neighbours")


def item_tower(path: Path, catalog: Catalog, spec: FeatureSpec, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vectors float32 [rows, D] and biases float32 [rows] by the exported item tower."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    widths = [(feature.name, feature.max_length) for feature in spec.item_features]
    found = [np.zeros((0, session.get_outputs()[0].shape[1]), np.float32)]
    for start in range(0, len(rows), _BATCH):
        part = {name: ragged.take(rows[start : start + _BATCH]) for name, ragged in catalog.features.items()}
        ids, weights = side_by_side(part, widths)
        inputs = {"ids": ids, "weights": weights}
        if catalog.content is not None:
            inputs["content"] = catalog.content.inputs(rows[start : start + _BATCH])
        found.append(np.asarray(session.run(None, inputs)[0]))
    joined = np.concatenate(found)
    return joined[:, :-1], joined[:, -1]
