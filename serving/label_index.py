"""Items by label: the names of a brand, a category or an attribute, folded, for filters and for counts."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class LabelIndex:
    """Items by the names of one kind.

    Attributes:
        names: Names as most items write them, in no order.
        rows: int32 [entries], item rows, grouped by name.
        starts: int64 [names + 1], start of each name's items in `rows`.
        place: Position in `names` by case-folded name.
    """

    names: list[str]
    rows: np.ndarray
    starts: np.ndarray
    place: dict[str, int]

    @classmethod
    def of(cls, names: pa.Array, rows: np.ndarray) -> "LabelIndex":
        """Index names, one per row of `rows`; names that differ only in case are one, empty ones are left out."""
        encoded = names.dictionary_encode()
        codes = encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False).astype(np.int64)
        spellings = encoded.dictionary.to_pylist()
        uses = np.bincount(codes, minlength=len(spellings) + 1)
        place: dict[str, int] = {}
        chosen: list[int] = []
        folded, named = np.zeros(len(spellings) + 1, np.int64), np.zeros(len(spellings) + 1, bool)
        for code, name in enumerate(spellings):
            if not name:
                continue
            named[code] = True
            folded[code] = at = place.setdefault(name.casefold(), len(chosen))
            if at == len(chosen):
                chosen.append(code)
            elif uses[code] > uses[chosen[at]]:
                chosen[at] = code
        held = named[codes]
        width = int(rows.max(initial=0)) + 1
        # An item that repeats a name counts once.
        key = np.unique(folded[codes[held]] * width + rows[held])
        starts = np.searchsorted(key // width, np.arange(len(chosen) + 1))
        return cls([spellings[code] for code in chosen], (key % width).astype(np.int32), starts, place)

    def mask(self, names: Iterable[str], items: int, field: str, warnings: list[str]) -> np.ndarray:
        """Items with any of some names, bool [items]; names that no item has are reported in `warnings`."""
        mask = np.zeros(items, bool)
        for name in names:
            at = self.place.get(name.casefold())
            if at is None:
                warnings.append(f"{field}: no item matches '{name[:60]}'")
            else:
                mask[self.rows[self.starts[at] : self.starts[at + 1]]] = True
        return mask

    def counts(self, mask: np.ndarray) -> np.ndarray:
        """Number of items of a mask, bool [items], by name, int64 [names]."""
        before = np.concatenate([[0], np.cumsum(mask[self.rows])])
        return before[self.starts[1:]] - before[self.starts[:-1]]

    def labelled(self, mask: np.ndarray) -> int:
        """Number of items of a mask, bool [items], that have a name."""
        has = np.zeros(len(mask), bool)
        has[self.rows] = True
        return int((has & mask).sum())


class AttributeIndex:
    """Items by attribute; the values of one are indexed when they are first asked for.

    Args:
        attributes: Arrow maps of strings [items]; None for a catalog without attributes.
    """

    def __init__(self, attributes: pa.MapArray | None):
        self._entries: dict[str, np.ndarray] = {}
        self._indexes: dict[str, LabelIndex] = {}
        self.names: dict[str, str] = {}
        """Attributes as they are written, by case-folded name."""
        if attributes is None:
            return
        offsets = attributes.offsets.to_numpy()
        held = slice(offsets[0], offsets[-1])
        self._rows = np.repeat(np.arange(len(attributes)), np.diff(offsets))
        self._values = attributes.items[held].cast(pa.string())
        keys = attributes.keys[held].dictionary_encode()
        codes = keys.indices.to_numpy(zero_copy_only=False)
        order = np.argsort(codes, kind="stable")
        bounds = np.searchsorted(codes[order], np.arange(len(keys.dictionary) + 1))
        for code, name in enumerate(keys.dictionary.to_pylist()):
            entries, folded = order[bounds[code] : bounds[code + 1]], name.casefold()
            before = self._entries.get(folded, np.zeros(0, np.int64))
            if len(entries) > len(before):
                self.names[folded] = name
            self._entries[folded] = np.concatenate([before, entries])

    def get(self, name: str) -> LabelIndex | None:
        """Items by the values of an attribute, whose name is matched without case; None if no item has it."""
        folded = name.casefold()
        if folded not in self._entries:
            return None
        if folded not in self._indexes:
            entries = self._entries[folded]
            self._indexes[folded] = LabelIndex.of(self._values.take(pa.array(entries)), self._rows[entries])
        return self._indexes[folded]
