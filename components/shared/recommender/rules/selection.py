"""Items that the selectors of rules name: a scan of the catalog's columns whenever rules are read, none per request."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.features.catalog import Catalog
from components.shared.recommender.rules.config import Selector


class Assortment:
    """Items of a catalog by what rules say of them.

    Args:
        catalog: The items.
        table: `items.parquet` of the same folder, which has the attributes.
    """

    def __init__(self, catalog: Catalog, table: Path):
        self.catalog, self._table = catalog, table

    @cached_property
    def _categories(self) -> tuple[np.ndarray, "_Names"]:
        """The item of every category name, and the names."""
        lists = self.catalog.categories
        offsets = lists.offsets.to_numpy()
        names = lists.values.slice(offsets[0], offsets[-1] - offsets[0])
        return np.repeat(np.arange(len(self.catalog)), np.diff(offsets)), _Names(names)

    @cached_property
    def _brands(self) -> "_Names":
        return _Names(self.catalog.brand)

    @cached_property
    def _attributes(self) -> tuple[np.ndarray, "_Names", "_Names"]:
        """The item of every attribute, their names and values."""
        empty = pa.array([], pa.string())
        if "attributes" not in pq.read_schema(self._table).names:
            return np.zeros(0, np.int64), _Names(empty), _Names(empty)
        maps = pq.read_table(self._table, columns=["attributes"])["attributes"].combine_chunks()
        offsets = maps.offsets.to_numpy()
        span = slice(offsets[0], offsets[-1])
        row = np.repeat(np.arange(len(maps)), np.diff(offsets))
        return row, _Names(maps.keys[span]), _Names(maps.items[span])

    def rows(self, selector: Selector, unknown: list[str]) -> np.ndarray:
        """Rows of the items that a selector names, int64, ascending.

        Args:
            selector: What they have.
            unknown: Receives what no item of the catalog has, such as "brand 'Okea'".
        """
        kept = np.ones(len(self.catalog), bool)
        kept[0] = False
        for part in self._parts(selector, unknown):
            kept &= part
        return np.flatnonzero(kept)

    def row_of(self, items: Sequence[str], unknown: list[str]) -> list[int]:
        """Rows of items, without those that the catalog lacks."""
        unknown += [f"item '{item}'" for item in items if item not in self.catalog.row_of]
        return [self.catalog.row_of[item] for item in items if item in self.catalog.row_of]

    def _parts(self, selector: Selector, unknown: list[str]) -> Iterable[np.ndarray]:
        """One mask for each thing that is said of the items."""
        if selector.items:
            yield self._mask(np.array(self.row_of(selector.items, unknown), np.int64))
        if selector.brands:
            yield self._brands.any_of(selector.brands, "brand", unknown)
        if selector.categories:
            row, names = self._categories
            yield self._mask(row[names.any_of(selector.categories, "category", unknown)])
        for attribute, values in selector.attributes.items():
            row, names, its_values = self._attributes
            named = names.any_of([attribute], "attribute", unknown)
            lacking: list[str] = []
            found = named & its_values.any_of(values, attribute, lacking)
            unknown += lacking if named.any() else []
            yield self._mask(row[found])
        # A comparison with NaN, an unknown price, is False.
        if selector.price_min is not None:
            yield self.catalog.list_price >= selector.price_min
        if selector.price_max is not None:
            yield self.catalog.list_price <= selector.price_max

    def _mask(self, rows: np.ndarray) -> np.ndarray:
        found = np.zeros(len(self.catalog), bool)
        found[rows] = True
        return found


class _Names:
    """A column of names, compared without case."""

    def __init__(self, names: pa.Array):
        encoded = names.dictionary_encode()
        self._codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        self._codes_of: dict[str, list[int]] = {}
        for code, name in enumerate(encoded.dictionary.to_pylist()):
            self._codes_of.setdefault(_folded(name), []).append(code)

    def any_of(self, names: Sequence[str], kind: str, unknown: list[str]) -> np.ndarray:
        """Where the column has one of some names, bool; `unknown` receives those that it has nowhere."""
        unknown += [f"{kind} '{name}'" for name in names if _folded(name) not in self._codes_of]
        return np.isin(self._codes, [code for name in names for code in self._codes_of.get(_folded(name), ())])


def _folded(name: str) -> str:
    return " ".join(name.split()).casefold()
