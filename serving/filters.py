"""Request filters: availability, price, category, brand, attributes and excluded items as one boolean mask."""

from collections.abc import Iterable

import numpy as np

from components.shared.features.catalog import Catalog
from serving.label_index import AttributeIndex, LabelIndex
from serving.protocol import Filters

CATEGORY, BRAND, PRICE = "category", "brand", "price"
"""Names of facets that are no attribute."""


_NO_FILTERS = Filters()


class FilterIndex:
    """Index of catalog rows by category, brand and attribute, so that filtering does not scan the catalog.

    Args:
        catalog: Items; row 0, the unknown item, is never allowed.
    """

    def __init__(self, catalog: Catalog):
        self._catalog = catalog
        self._available = catalog.available.copy()
        self._available[0] = False
        self._available.setflags(write=False)
        items = np.arange(len(catalog))
        offsets = catalog.categories.offsets.to_numpy()
        names = catalog.categories.values.slice(offsets[0], offsets[-1] - offsets[0])
        self.category = LabelIndex.of(names, np.repeat(items, np.diff(offsets)))
        self.brand = LabelIndex.of(catalog.brand, items)
        self.attributes = AttributeIndex(catalog.attributes)

    def mask(self, filters: Filters, exclude: Iterable[str], warnings: list[str]) -> np.ndarray:
        """Allowed items, bool [items], not to be changed; names without a match are reported in `warnings`.

        Most requests have no filters. They share one array, by which one sees that they go together.
        """
        items, excluded = len(self._catalog), set(exclude)
        if filters == _NO_FILTERS and not excluded:
            return self._available
        allowed = self._available.copy() if filters.available else np.ones(items, bool)
        allowed[0] = False
        price = self._catalog.list_price
        # A comparison with NaN is False: an unknown price passes no price filter.
        if filters.price_min is not None:
            allowed &= price >= filters.price_min
        if filters.price_max is not None:
            allowed &= price <= filters.price_max
        if filters.categories:
            allowed &= self.category.mask(filters.categories, items, "filters.categories", warnings)
        if filters.brands:
            allowed &= self.brand.mask(filters.brands, items, "filters.brands", warnings)
        for name, values in filters.attributes.items():
            if values:
                allowed &= self._with_attribute(name, values, warnings)
        known = [self._catalog.row_of[item] for item in excluded if item in self._catalog.row_of]
        allowed[known] = False
        if len(known) < len(excluded):
            warnings.append(f"exclude: {len(excluded) - len(known)} unknown items ignored")
        return allowed

    def _with_attribute(self, name: str, values: list[str], warnings: list[str]) -> np.ndarray:
        index, field = self.attributes.get(name), f"filters.attributes.{name[:60]}"
        if index is None:
            warnings.append(f"{field}: no item has this attribute")
            return np.zeros(len(self._catalog), bool)
        return index.mask(values, len(self._catalog), field, warnings)


def without(filters: Filters, facet: str) -> Filters:
    """The filters without those of one facet, by which a shopper chooses among its values."""
    if facet == PRICE:
        return filters.model_copy(update={"price_min": None, "price_max": None})
    if facet in (CATEGORY, BRAND):
        return filters.model_copy(update={"categories" if facet == CATEGORY else "brands": []})
    kept = {name: values for name, values in filters.attributes.items() if name.casefold() != facet.casefold()}
    return filters.model_copy(update={"attributes": kept})
