"""Merges given items into a catalog, encoded as build_features would encode them.

Columns stay in Arrow: items become Python objects batch by batch, and only changed ones are kept, without their content
vectors, which are views of the given ones. Unchanged pieces of the catalog are not copied.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.refresh_catalog.encoding import Entry, Vocabularies
from components.shared.features.content import CONTENT_COLUMN

_BATCH = 8_192
_PIECE = 65_536
_FEATURES = ("category_ids", "brand_ids", "price_bucket_ids", "title_ids")


@dataclass(frozen=True)
class Refreshed:
    """Counts of a catalog refresh.

    Attributes:
        added, changed, same: number of items.
        unknown_categories, unknown_brands: number of labels that are not in the model's vocabularies.
    """

    added: int
    changed: int
    same: int
    unknown_categories: int
    unknown_brands: int

    def metrics(self) -> dict[str, float]:
        """Return the counts by metric name."""
        return {name: float(value) for name, value in dataclasses.asdict(self).items()}


@dataclass(frozen=True)
class Merged:
    """Result of a merge.

    Attributes:
        table: the updated items.parquet; existing rows keep their positions, new ones follow.
        read: int64, ascending, rows whose vectors must be computed: new items and items with changed inputs of the
            item tower.
        counts: counts of the changes.
    """

    table: pa.Table
    read: np.ndarray
    counts: Refreshed


def merge_items(table: pa.Table, given: pa.Table, names: Vocabularies) -> Merged:
    """Merge the given items into the catalog, in their order.

    Args:
        table: A bundle's items.parquet, the unknown item first.
        given: Columns of the data contract (schema.ITEMS), including item_id; a null value keeps the stored value.
        names: Vocabularies of the bundle; collects unknown labels.

    Raises:
        InputError: a content vector does not fit the model.
    """
    changes = _Changes(table, names)
    rows = _rows(table["item_id"], given["item_id"])
    for start in range(0, given.num_rows, _BATCH):
        changes.add(rows[start : start + _BATCH], given.slice(start, _BATCH))
    return Merged(pa.concat_tables(_pieces(table, changes.table())), changes.read(), changes.counts())


@dataclass
class _Changes:
    """Changes by the given items, by row; unchanged rows are not stored.

    Attributes:
        catalog: the catalog before the merge. names: see merge_items.
        entries: rows that are new, or changed by at least one item, without content vectors.
        before: previous entries of the changed rows.
        vectors: float32 [dim] or [0], given content vectors that changed a row.
    """

    catalog: pa.Table
    names: Vocabularies
    entries: dict[int, Entry] = field(default_factory=dict)
    before: dict[int, Entry] = field(default_factory=dict)
    vectors: dict[int, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._known = self.catalog.num_rows
        held = [name for name in self.catalog.column_names if name not in ("row", CONTENT_COLUMN)]
        # One chunk, because taking rows from several chunks would copy all of them each time.
        self._attributes = self.catalog.select(held).combine_chunks()
        self._content = self.catalog[CONTENT_COLUMN] if CONTENT_COLUMN in self.catalog.column_names else None

    def add(self, rows: np.ndarray, part: pa.Table) -> None:
        """Add items; `rows` (int64) are their catalog rows, those of new items are beyond the catalog."""
        content = part[CONTENT_COLUMN] if CONTENT_COLUMN in part.column_names else pa.nulls(len(part))
        stored = iter(self._attributes.take(rows[rows < self._known]).to_pylist())
        items = part.select([name for name in part.column_names if name in self._attributes.column_names]).to_pylist()
        for row, item, given in zip(rows.tolist(), items, content, strict=True):
            before = next(stored) if row < self._known else self._blank(item["item_id"])
            fresh = {name: value for name, value in item.items() if value is not None}
            vector = self.names.content(item["item_id"], given.values) if given.is_valid else None
            self._update(row, before, fresh, vector)

    def _update(self, row: int, stored: Entry, fresh: Entry, vector: np.ndarray | None) -> None:
        before = self.entries.get(row, stored)
        after = self.names.encoded(before, fresh)
        differs = vector is not None and not _alike(vector, self._vector(row))
        if row < self._known:
            if after == before and not differs:
                return
            self.before.setdefault(row, stored)
        self.entries[row] = after
        if vector is not None and differs:
            self.vectors[row] = vector

    def _vector(self, row: int) -> np.ndarray | None:
        """Current content vector of a row: the latest given one, else the stored one."""
        return self.vectors[row] if row in self.vectors else self._stored_vector(row)

    def _stored_vector(self, row: int) -> np.ndarray | None:
        vector = self._content[row].values if self._content is not None and row < self._known else None
        return None if vector is None else vector.to_numpy(zero_copy_only=False)

    def _blank(self, item_id: str) -> Entry:
        blank = dict.fromkeys(self._attributes.column_names)
        return blank | {
            "item_id": item_id, "title": item_id, "brand": "", "categories": [], "available": True, "title_ids": [],
            "description": "", "attributes": [],
        }  # fmt: skip

    def table(self) -> pa.Table:
        """Return `entries` as a table with the schema of items.parquet, in ascending order of rows."""
        rows, schema = sorted(self.entries), self.catalog.schema
        attributes = pa.schema([schema.field(name) for name in self._attributes.column_names])
        entries = pa.Table.from_pylist([self.entries[row] for row in rows], attributes)
        columns: dict[str, pa.Array | pa.ChunkedArray] = dict(zip(entries.column_names, entries.columns, strict=True))
        columns["row"] = pa.array(rows, schema.field("row").type)
        if self._content is not None:
            vectors = [self._vector(row) for row in rows]
            columns[CONTENT_COLUMN] = pa.array(vectors, schema.field(CONTENT_COLUMN).type)
        return pa.table([columns[name] for name in schema.names], schema=schema)

    def read(self) -> np.ndarray:
        """See Merged."""
        return np.array([row for row in sorted(self.entries) if self._inputs_changed(row)], np.int64)

    def _inputs_changed(self, row: int) -> bool:
        if row >= self._known:
            return True
        after, before = self.entries[row], self.before[row]
        return any(after[name] != before[name] for name in _FEATURES) or (
            row in self.vectors and not _alike(self.vectors[row], self._stored_vector(row))
        )

    def counts(self) -> Refreshed:
        """See Refreshed."""
        changed, unknown = len(self.before), self.names.unknown
        added, same = len(self.entries) - changed, self._known - 1 - changed
        return Refreshed(added, changed, same, len(unknown["category"]), len(unknown["brand"]))


def _rows(known: pa.ChunkedArray, wanted: pa.ChunkedArray) -> np.ndarray:
    """Catalog row of every wanted id, int64; unknown ids get the rows after the catalog, in order of appearance."""
    found = pc.index_in(wanted, value_set=known.slice(1))  # pyright: ignore[reportAttributeAccessIssue]
    rows = found.fill_null(-1).to_numpy().astype(np.int64) + 1
    new: dict[str, int] = {}
    for at in np.flatnonzero(rows == 0).tolist():
        rows[at] = new.setdefault(wanted[at].as_py(), len(known) + len(new))
    return rows


def _pieces(table: pa.Table, changed: pa.Table) -> Iterator[pa.Table]:
    """Yield the catalog in pieces, with changed rows in place and new rows at the end."""
    rows = changed["row"].to_numpy()
    for start in range(0, table.num_rows, _PIECE):
        piece = table.slice(start, _PIECE)
        first, end = np.searchsorted(rows, [start, start + len(piece)]).tolist()
        if first < end:
            order = np.arange(len(piece))
            order[rows[first:end] - start] = len(piece) + np.arange(end - first)
            piece = pa.concat_tables([piece, changed.slice(first, end - first)]).take(order)
        yield piece
    yield changed.slice(int(np.searchsorted(rows, table.num_rows)))


def _alike(vector: np.ndarray, other: np.ndarray | None) -> bool:
    return other is not None and np.array_equal(vector, other)
