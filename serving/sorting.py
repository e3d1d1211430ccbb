"""Sort orders of items: a key for each item, ties by item id, so that an order continues after any position."""

import bisect
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow.compute as pc

from components.shared.features.catalog import Catalog
from components.shared.features.columns import ItemStatistic

SortBy = Literal["price", "-price", "newest", "popular"]
"""Orders by a property of the items; relevance, the default of a request, is none."""


class SortOrders:
    """Sort orders of a catalog, each computed when it is first asked for.

    Args:
        catalog: Ids, prices and creation times.
        statistics: float32 [items, len(ItemStatistic)].
    """

    def __init__(self, catalog: Catalog, statistics: np.ndarray):
        self._catalog, self._statistics = catalog, statistics
        self._by_id = pc.array_sort_indices(catalog.item_id).to_numpy()  # pyright: ignore[reportAttributeAccessIssue]
        self._orders: dict[SortBy, _Order] = {}

    def offers(self, by: SortBy) -> bool:
        """Whether the catalog has what the order is of: `newest` needs the creation time of any item."""
        created_at = self._catalog.created_at
        return by != "newest" or (created_at is not None and bool(np.isfinite(created_at).any()))

    def key(self, by: SortBy, row: int) -> float:
        """Sort key of an item, ascending; infinite for an unknown price or creation time."""
        order = self._order(by)
        return float(order.keys[order.place[row]])

    def place(self, by: SortBy) -> np.ndarray:
        """Place of every item in the order, int64 [items], 0 being the first."""
        return self._order(by).place

    def places_through(self, by: SortBy, key: float, item_id: str) -> int:
        """Number of places up to and with that of an item, whether or not the catalog still has it."""
        order = self._order(by)
        low, high = (int(np.searchsorted(order.keys, key, side)) for side in ("left", "right"))
        # Arrow sorts strings by their UTF-8 bytes.
        return low + bisect.bisect_right(order.rows[low:high], item_id.encode(), key=self._id)

    def _id(self, row: np.int64) -> bytes:
        return self._catalog.item_id[int(row)].as_py().encode()

    def _order(self, by: SortBy) -> "_Order":
        if by not in self._orders:
            keys = self._keys(by)
            rows = self._by_id[np.argsort(keys[self._by_id], kind="stable")].astype(np.int64)
            place = np.empty(len(rows), np.int64)
            place[rows] = np.arange(len(rows))
            self._orders[by] = _Order(rows, keys[rows], place)
        return self._orders[by]

    def _keys(self, by: SortBy) -> np.ndarray:
        match by:
            case "popular":
                return -np.asarray(self._statistics[:, ItemStatistic.POPULARITY_MIDDLE], np.float64)
            case "newest":
                assert self._catalog.created_at is not None
                keys = -self._catalog.created_at
            case _:
                keys = self._catalog.list_price.astype(np.float64) * (-1 if by == "-price" else 1)
        return np.where(np.isfinite(keys), keys, np.inf)


@dataclass(frozen=True)
class _Order:
    """One order.

    Attributes:
        rows: int64 [items], first to last. keys: float64 [items], of `rows`, ascending.
        place: int64 [items], place of each row.
    """

    rows: np.ndarray
    keys: np.ndarray
    place: np.ndarray
