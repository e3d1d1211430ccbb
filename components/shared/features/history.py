"""Event histories of shoppers as memory-mapped flat arrays, sorted by shopper and time.

The feature folder (training) and the bundle (serving) contain the same files; a request reads only its own slice.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.shared.features.ragged import expand_ranges, offsets_of
from components.shared.mapped_arrays import map_array

COLUMNS = {"item": np.int32, "event_type": np.int8, "timestamp": np.int64, "price": np.float32}
"""One .npy file per column; `item` is a catalog row, `timestamp` epoch seconds, `price` NaN when unknown."""


@dataclass(frozen=True)
class Histories:
    """Events of a batch of shoppers before each row's reference time, oldest first.

    Attributes:
        user: int64 [rows], embedding row of each shopper (0: unknown).
        now: int64 [rows], reference time of each row in epoch seconds; all events are strictly before it.
        offsets: int64 [rows + 1], start of each row's events.
        item: int64 [events], catalog rows.
        event_type: int64 [events], index in schema.EVENT_TYPES.
        timestamp: int64 [events], epoch seconds.
        price: float32 [events], NaN when unknown.
    """

    user: np.ndarray
    now: np.ndarray
    offsets: np.ndarray
    item: np.ndarray
    event_type: np.ndarray
    timestamp: np.ndarray
    price: np.ndarray

    def __len__(self) -> int:
        return len(self.now)

    @functools.cached_property
    def row(self) -> np.ndarray:
        """int64 [events], the row each event belongs to."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @classmethod
    def joined(cls, parts: Sequence["Histories"]) -> "Histories":
        """The rows of all parts, in order."""
        if len(parts) == 1:
            return parts[0]
        lengths = np.concatenate([np.diff(part.offsets) for part in parts])
        names = ("user", "now", "item", "event_type", "timestamp", "price")
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return cls(offsets=offsets_of(lengths), **columns)

    def last(self, count: int) -> "Histories":
        """The latest `count` events of every row."""
        lengths = np.minimum(np.diff(self.offsets), count)
        flat = expand_ranges(self.offsets[1:] - lengths, lengths)
        return Histories(
            self.user, self.now, offsets_of(lengths),
            self.item[flat], self.event_type[flat], self.timestamp[flat], self.price[flat],
        )  # fmt: skip


@dataclass(frozen=True)
class HistoryStore:
    """Events of all shoppers on disk: shopper i has positions [offsets[i], offsets[i + 1]), unknown shopper 0 has none.

    Attributes:
        offsets: int64 [shoppers + 2].
        columns: memory-mapped arrays by column name (see COLUMNS).
        known_users: highest index of a shopper with its own embedding.
    """

    offsets: np.ndarray
    columns: dict[str, np.ndarray]
    known_users: int

    @classmethod
    def open(cls, folder: Path, known_users: int) -> "HistoryStore":
        """Memory-map the files of `folder`; data is read on access."""
        columns = {name: map_array(folder / f"{name}.npy") for name in COLUMNS}
        return cls(map_array(folder / "offsets.npy"), columns, known_users)

    def before(self, shoppers: np.ndarray, now: np.ndarray, max_history: int) -> Histories:
        """Return each shopper's events strictly before `now`, at most the latest `max_history`.

        Args:
            shoppers: int [rows], shopper indexes (0: unknown, no events); repeats allowed.
            now: int [rows], epoch seconds.
            max_history: Maximum number of events per row.
        """
        shoppers, now = np.asarray(shoppers, np.int64), np.asarray(now, np.int64)
        starts = self.offsets[shoppers]
        ends = self._ends(shoppers, now)
        starts = np.maximum(starts, ends - max_history)
        flat = expand_ranges(starts, ends - starts)
        known = np.where(shoppers <= self.known_users, shoppers, 0)
        item, event_type, timestamp, price = (self.columns[name][flat] for name in COLUMNS)
        return Histories(
            known, now, offsets_of(ends - starts),
            item.astype(np.int64), event_type.astype(np.int64), timestamp, price,
        )  # fmt: skip

    def _ends(self, shoppers: np.ndarray, now: np.ndarray) -> np.ndarray:
        """Position after the last event before `now`, by a binary search over all rows at once."""
        low, high = self.offsets[shoppers], self.offsets[shoppers + 1]
        times = self.columns["timestamp"]
        while True:
            open_rows = low < high
            if not open_rows.any():
                return low
            middle = (low + high) // 2
            earlier = np.zeros(len(low), bool)
            earlier[open_rows] = times[middle[open_rows]] < now[open_rows]
            low = np.where(open_rows & earlier, middle + 1, low)
            high = np.where(open_rows & ~earlier, middle, high)
