"""Facets: how many items of the whole result have each category, brand, price band or value of an attribute."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from components.shared.features.catalog import Catalog
from serving.filters import BRAND, CATEGORY, PRICE, FilterIndex, without
from serving.label_index import LabelIndex
from serving.protocol import Filters

MAX_VALUES = 100
"""Maximum number of values that a facet lists."""
_BANDS = 5
"""Number of price bands, if prices differ enough."""
_NICE = np.array([1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10])
"""Leading digits of a price at which a band starts."""


class Facets:
    """Counts the items of results by facet.

    Args:
        catalog: Prices.
        filters: Items by label.
    """

    def __init__(self, catalog: Catalog, filters: FilterIndex):
        self._catalog, self._filters = catalog, filters

    def count(
        self, names: list[str], filters: Filters, result: Callable[[Filters], np.ndarray], warnings: list[str]
    ) -> dict[str, Any]:
        """The facets of one result, in the form of Answer.facets.

        Args:
            names: Facets: category, brand, price or attributes.
            filters: Filters of the request.
            result: Items of the whole result under some filters, bool [items].
            warnings: Receives attributes that no item has.
        """
        counted: dict[str, Any] = {}
        for name in dict.fromkeys(names):
            mask = result(without(filters, name))
            if name == PRICE:
                counted[name] = self._prices(mask)
            elif index := self._index(name):
                counted[name] = _values(index, mask, _chosen(filters, name))
            else:
                warnings.append(f"facets: no item has an attribute '{name[:60]}'; {self._known()}")
                counted[name] = {"values": [], "others": 0, "missing": int(mask.sum())}
        return counted

    def _index(self, name: str) -> LabelIndex | None:
        if name in (CATEGORY, BRAND):
            return self._filters.category if name == CATEGORY else self._filters.brand
        return self._filters.attributes.get(name)

    def _known(self) -> str:
        names = sorted(self._filters.attributes.names.values())[:20]
        return f"the attributes are: {', '.join(names)}" if names else "this catalog has no attributes"

    def _prices(self, mask: np.ndarray) -> dict[str, Any]:
        price = self._catalog.list_price[mask]
        known = np.sort(price[np.isfinite(price)])
        bands = price_bands(known)
        return {"bands": bands, "missing": len(price) - len(known)}


def _chosen(filters: Filters, name: str) -> list[str]:
    """Values that the request's filters name, which a facet lists in any case."""
    if name in (CATEGORY, BRAND):
        return filters.categories if name == CATEGORY else filters.brands
    return [one for key, values in filters.attributes.items() if key.casefold() == name.casefold() for one in values]


def _values(index: LabelIndex, mask: np.ndarray, chosen: list[str]) -> dict[str, Any]:
    counts = index.counts(mask)
    some = np.flatnonzero(counts)
    ranked = sorted(some.tolist(), key=lambda at: (-counts[at], index.names[at]))
    kept = ranked[:MAX_VALUES]
    more = [index.place[name.casefold()] for name in chosen if name.casefold() in index.place]
    kept += [at for at in dict.fromkeys(more) if at not in set(kept)]
    return {
        "values": [{"value": index.names[at], "count": int(counts[at])} for at in kept],
        "others": len(set(ranked) - set(kept)),
        "missing": int(mask.sum()) - index.labelled(mask),
    }


def price_bands(prices: np.ndarray) -> list[dict[str, Any]]:
    """Up to five bands of about as many items each, which start near round prices.

    A band's `min` and `max` are the lowest and the highest price in it: as `price_min` and `price_max` of a filter,
    which both are inclusive, they select the items that it counts.

    >>> price_bands(np.array([1, 2, 2.5, 9, 12], np.float32))[-1]
    {'min': 9.0, 'max': 12.0, 'count': 2}

    Args:
        prices: float32 [n], ascending, without unknown ones.
    """
    if not len(prices):
        return []
    quantiles = np.quantile(prices, np.arange(1, _BANDS) / _BANDS)
    starts = sorted({_nice(float(price)) for price in quantiles if price > 0})
    edges = np.unique(np.concatenate([[0], np.searchsorted(prices, np.array(starts, np.float32)), [len(prices)]]))
    return [
        {"min": _shortest(prices, start), "max": _shortest(prices, end - 1), "count": int(end - start)}
        for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]


def _nice(price: float) -> float:
    """The round price nearest to a price above 0."""
    unit = 10.0 ** math.floor(math.log10(price))
    return float(unit * _NICE[np.abs(_NICE - price / unit).argmin()])


def _shortest(prices: np.ndarray, at: int) -> float:
    """The shortest decimal number that is the same float32, so that a filter by it finds the item."""
    return float(np.format_float_positional(np.float32(prices[at]), unique=True, trim="0"))
