"""Candidates of recommendations, remembered until a shopper's history, the time or what may be answered changes.

A shopper asks several times between two events, and all shoppers without a history have the same candidates. What is
remembered is the input of the ranker, not its answer.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from components.shared.features.history import Histories
from components.shared.recommender.batches import RankerBatch

Key = tuple[bytes, ...]


@dataclass(frozen=True)
class _Entry:
    allowed: np.ndarray
    batch: RankerBatch
    size: int


class CandidateCache:
    """The latest candidates by history; all methods are thread-safe.

    Args:
        max_bytes: Size of all of them; 0 remembers nothing.
    """

    def __init__(self, max_bytes: int):
        self._max_bytes, self._size = max_bytes, 0
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    @staticmethod
    def key(histories: Histories) -> Key:
        """Everything that the candidates of one row depend on, beside what may be answered."""
        columns = (histories.user, histories.now, histories.item, histories.event_type, histories.timestamp)
        return tuple(column.tobytes() for column in (*columns, histories.price))

    def get(self, key: Key, allowed: np.ndarray) -> RankerBatch | None:
        """The candidates of a history among some items, bool [items]; None if they are not known."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or not same_items(entry.allowed, allowed):
                return None
            self._entries.move_to_end(key)
            return entry.batch

    def put(self, key: Key, allowed: np.ndarray, batch: RankerBatch) -> None:
        """Remember candidates of one row, and forget those that were not asked for longest."""
        arrays = (*vars(batch.found).values(), *batch.user, batch.dense)
        # Arrays of allowed items are shared by most entries, see FilterIndex.mask.
        size = sum(array.nbytes for array in arrays) + sum(map(len, key))
        with self._lock:
            before = self._entries.pop(key, None)
            self._entries[key] = _Entry(allowed, batch, size)
            self._size += size - (before.size if before else 0)
            while self._size > self._max_bytes:
                _, oldest = self._entries.popitem(last=False)
                self._size -= oldest.size


def same_items(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two masks, bool [items], are equal."""
    return one is other or np.array_equal(one, other)
