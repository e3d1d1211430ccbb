"""Request filters: availability, price, category, brand and excluded items as one boolean mask."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from components.shared.features.catalog import Catalog
from serving.protocol import Filters


class FilterIndex:
    """Index of catalog rows by category and brand, so that filtering does not scan the catalog.

    Args:
        catalog: Items; row 0, the unknown item, is never allowed.
    """

    def __init__(self, catalog: Catalog):
        self._catalog = catalog
        items = np.arange(len(catalog))
        offsets = catalog.categories.offsets.to_numpy()
        names = catalog.categories.values.slice(offsets[0], offsets[-1] - offsets[0])
        self._category = _RowsOf(names, np.repeat(items, np.diff(offsets)))
        self._brand = _RowsOf(catalog.brand, items)

    def mask(self, filters: Filters, exclude: Iterable[str], warnings: list[str]) -> np.ndarray:
        """Allowed items, bool [items]; names without a match are reported in `warnings`."""
        allowed = self._catalog.available.copy() if filters.available else np.ones(len(self._catalog), bool)
        allowed[0] = False
        price = self._catalog.list_price
        # A comparison with NaN is False: an unknown price passes no price filter.
        if filters.price_min is not None:
            allowed &= price >= filters.price_min
        if filters.price_max is not None:
            allowed &= price <= filters.price_max
        if filters.categories:
            allowed &= self._category.any_of(filters.categories, len(allowed), "filters.categories", warnings)
        if filters.brands:
            allowed &= self._brand.any_of(filters.brands, len(allowed), "filters.brands", warnings)
        excluded = set(exclude)
        known = [self._catalog.row_of[item] for item in excluded if item in self._catalog.row_of]
        allowed[known] = False
        if len(known) < len(excluded):
            warnings.append(f"exclude: {len(excluded) - len(known)} unknown items ignored")
        return allowed


class _RowsOf:
    """Catalog rows by case-folded name."""

    def __init__(self, names: pa.Array, rows: np.ndarray):
        encoded = names.dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        order = np.argsort(codes, kind="stable")
        self._rows = rows[order].astype(np.int32)
        bounds = np.searchsorted(codes[order], np.arange(len(encoded.dictionary) + 1))
        self._slices: dict[str, list[slice]] = {}
        for code, name in enumerate(encoded.dictionary.to_pylist()):
            self._slices.setdefault(name.casefold(), []).append(slice(bounds[code], bounds[code + 1]))

    def any_of(self, names: list[str], items: int, field: str, warnings: list[str]) -> np.ndarray:
        """True for the rows of any of `names`, bool [items]."""
        mask = np.zeros(items, bool)
        for name in names:
            slices = self._slices.get(name.casefold(), [])
            if not slices:
                warnings.append(f"{field}: no item matches '{name[:60]}'")
            for rows in slices:
                mask[self._rows[rows]] = True
        return mask
