"""Which items hold which terms, and in which fields: what coverage and the features of a search are computed from."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.shared.mapped_arrays import map_array

_SEARCH_COST = 16
"""Time of a binary search for an item in terms of that of writing an item into a table."""


@dataclass(frozen=True)
class Postings:
    """Items by term.

    Attributes:
        row_of: Term -> its row in `starts`.
        starts: int64 [terms + 1], start of each term's items in `items`.
        items: int32 [entries], item rows, ascending within a term.
        fields: uint8 [entries], Field flags.
        documents: Number of items.
    """

    row_of: dict[str, int]
    starts: np.ndarray
    items: np.ndarray
    fields: np.ndarray
    documents: int

    def frequency(self, term: str) -> int:
        """Number of items that hold a term."""
        row = self.row_of.get(term)
        return 0 if row is None else int(self.starts[row + 1] - self.starts[row])

    def idf(self, frequency: float) -> float:
        """Inverse document frequency in Lucene's form, log(1 + (N - n + 0.5) / (n + 0.5))."""
        return float(np.log1p((self.documents - frequency + 0.5) / (frequency + 0.5)))

    def fields_of(self, term: str, items: np.ndarray) -> np.ndarray:
        """Fields in which each item holds a term.

        Args:
            term: A term.
            items: int64 [n], item rows.

        Returns:
            uint8 [n], Field flags, 0 if the item does not hold it.
        """
        found = np.zeros(len(items), np.uint8)
        row = self.row_of.get(term)
        if row is None or not len(items):
            return found
        span = slice(self.starts[row], self.starts[row + 1])
        held = self.items[span]
        if len(items) * _SEARCH_COST > len(held):
            every = np.zeros(self.documents, np.uint8)
            every[held] = self.fields[span]
            return every[items]
        at = np.minimum(np.searchsorted(held, items), len(held) - 1)
        hit = held[at] == items
        found[hit] = self.fields[span][at[hit]]
        return found

    def items_of(self, term: str, within: int) -> np.ndarray:
        """Rows, int64, ascending, of the items that hold a term in one of some fields (Field flags)."""
        row = self.row_of.get(term)
        if row is None:
            return np.zeros(0, np.int64)
        span = slice(self.starts[row], self.starts[row + 1])
        return self.items[span][(self.fields[span] & within) > 0].astype(np.int64)

    def save(self, folder: Path) -> None:
        """Write the arrays and the terms."""
        for name in ("starts", "items", "fields"):
            np.save(folder / f"{name}.npy", getattr(self, name))
        terms = pa.table({"term": pa.array(list(self.row_of), pa.large_string())})
        with pa.OSFile(str(folder / "terms.arrow"), "wb") as file, pa.ipc.new_file(file, terms.schema) as writer:
            writer.write_table(terms)

    @classmethod
    def load(cls, folder: Path, documents: int) -> "Postings":
        """Open what `save` wrote; large arrays are memory-mapped."""
        starts, items, fields = (map_array(folder / f"{name}.npy") for name in _ARRAYS)
        with pa.memory_map(str(folder / "terms.arrow")) as file:
            terms = pa.ipc.open_file(file).read_all()["term"].to_pylist()
        return cls({term: row for row, term in enumerate(terms)}, starts, items, fields, documents)


_ARRAYS = ("starts", "items", "fields")


class PostingsBuilder:
    """Collects the terms of items, one item after another."""

    def __init__(self) -> None:
        self._row_of: dict[str, int] = {}
        self._terms, self._items, self._fields = array("i"), array("i"), array("B")
        self._documents = 0

    def add(self, terms: Iterable[tuple[int, Iterable[str]]]) -> None:
        """Add the next item: terms by Field."""
        held: dict[str, int] = {}
        for field, words in terms:
            for word in words:
                held[word] = held.get(word, 0) | field
        for term, fields in held.items():
            self._terms.append(self._row_of.setdefault(term, len(self._row_of)))
            self._items.append(self._documents)
            self._fields.append(fields)
        self._documents += 1

    def build(self) -> Postings:
        """The postings, terms in the order of their first occurrence."""
        term = np.frombuffer(self._terms, np.int32) if self._terms else np.zeros(0, np.int32)
        order = np.argsort(term, kind="stable")
        items = np.frombuffer(self._items, np.int32)[order] if self._items else np.zeros(0, np.int32)
        fields = np.frombuffer(self._fields, np.uint8)[order] if self._fields else np.zeros(0, np.uint8)
        starts = np.concatenate([[0], np.cumsum(np.bincount(term, minlength=len(self._row_of)))]).astype(np.int64)
        return Postings(self._row_of, starts, items, fields, self._documents)
