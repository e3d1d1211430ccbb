"""Suggestions while a shopper types: queries of the log, brands, categories, phrases of titles, and titles.

Matched by prefix at the start of any word. A word of five letters or more that nothing begins with may have one edit.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from components.shared.search.phrases import Phrase
from components.shared.text.scripts import fold

SuggestionKind = Literal["query", "brand", "category", "phrase", "title"]
_SHORTEST_EDITED = 5
"""Letters that a word must have to be corrected."""
_LONGEST_PREFIX = 100
_LAST = "\U0010ffff"
_LATER_WORD = 0.5
"""Factor of the weight of a suggestion whose match is not at its start."""
_FILE = "suggestions.arrow"


@dataclass(frozen=True)
class Suggestion:
    """One suggestion.

    Attributes:
        text: What is suggested. kind: What it is. own: Whether it is of the shopper's own history.
    """

    text: str
    kind: SuggestionKind
    own: bool = False


class Suggestions:
    """Suggestions of one catalog.

    Args:
        phrases: Texts with their weights.
    """

    def __init__(self, phrases: Sequence[Phrase]):
        self._phrases = phrases
        keys = sorted((key, row, at > 0) for row, one in enumerate(phrases) for at, key in enumerate(_keys(one)))
        self._keys = [key for key, _, _ in keys]
        self._rows = np.array([row for _, row, _ in keys], np.int64)
        weight = np.array([one.weight for one in phrases], np.float64)
        later = np.array([is_later for _, _, is_later in keys], bool)
        self._weights = weight[self._rows] * np.where(later, _LATER_WORD, 1.0)
        self._letters = sorted({letter for one in phrases if one.kind != "title" for letter in one.key
                                if letter.isalpha() and ord(letter) < 0x250})  # fmt: skip

    def save(self, folder: Path) -> None:
        """Write the phrases."""
        columns = {name: [getattr(one, name) for one in self._phrases] for name in _SCHEMA.names}
        table = pa.table(columns, schema=_SCHEMA)
        with pa.OSFile(str(folder / _FILE), "wb") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
            writer.write_table(table)

    @classmethod
    def load(cls, folder: Path) -> "Suggestions | None":
        """Read what `save` wrote; None for an index of a release without suggestions."""
        if not (folder / _FILE).exists():
            return None
        with pa.memory_map(str(folder / _FILE)) as file:
            table = pa.ipc.open_file(file).read_all()
        columns = [table[name].to_pylist() for name in _SCHEMA.names]
        rows = zip(*columns, strict=True)
        return cls([Phrase(text, kind, weight, tuple(starts)) for text, kind, weight, starts in rows])

    def suggest(self, prefix: str, count: int, own: Mapping[str, SuggestionKind] | None = None) -> list[Suggestion]:
        """Suggest texts, best first.

        Args:
            prefix: What was typed so far; '' for the most usual ones.
            count: Maximum number.
            own: Brands and categories of the shopper's history with their kinds, the dearest first; those that match
                come first.
        """
        typed = " ".join(fold(prefix[:_LONGEST_PREFIX]).split())
        typed += " " * (prefix[-1:].isspace() and bool(typed))
        meant = self._meant(typed)
        found: dict[str, Suggestion] = {}
        for text, kind in (own or {}).items():
            if any(key.startswith(start) for start in meant for key in _word_starts(fold(text))):
                found.setdefault(fold(text), Suggestion(text, kind, own=True))
        for row in self._best(meant, count + len(found)):
            phrase = self._phrases[row]
            found.setdefault(phrase.key, Suggestion(phrase.text, phrase.kind))
        return list(found.values())[:count]

    def _best(self, meant: Sequence[str], count: int) -> list[int]:
        """Rows of the phrases of the largest weight with one of some prefixes, best first."""
        spans = [np.arange(*self._span(start, 0, len(self._keys))) for start in meant]
        at = np.concatenate([np.zeros(0, np.int64), *spans])
        # A phrase may be there once for every word.
        most = min(len(at), 4 * count)
        at = at[np.argpartition(-self._weights[at], most - 1)[:most]] if most else at
        at = at[np.lexsort((at, -self._weights[at]))]
        return list(dict.fromkeys(self._rows[at].tolist()))[:count]

    def _span(self, start: str, low: int, high: int) -> tuple[int, int]:
        """Keys that begin with a text, looked for between two of them."""
        low = bisect_left(self._keys, start, low, high)
        return low, bisect_left(self._keys, start + _LAST, low, high)

    def _meant(self, typed: str) -> list[str]:
        """Beginnings of keys that a text may be: itself, or with one edit in the words that lead nowhere."""
        starts, words = [""], typed.split(" ")
        for at, word in enumerate(words):
            ending = " " if at < len(words) - 1 else ""
            exact = [start + word + ending for start in starts if self._any(start + word + ending)]
            edits = len(word) >= _SHORTEST_EDITED and word.isalpha() and not exact
            starts = exact or ([one for start in starts for one in self._edited(start, word, ending)] if edits else [])
        return starts

    def _any(self, start: str, low: int = 0, high: int | None = None) -> bool:
        """Whether a key begins with a text, looked for between two of them."""
        at = bisect_left(self._keys, start, low, high)
        return at < len(self._keys) and self._keys[at].startswith(start)

    def _edited(self, start: str, word: str, ending: str) -> list[str]:
        """Beginnings of keys with one edit in a word.

        Position by position, as long as some key has the letters before it, so that few edits are looked up.
        """
        found, (low, high) = [], self._span(start, 0, len(self._keys))
        for at in range(len(word) + 1):
            before, after = start + word[:at], word[at:]
            low, high = self._span(before, low, high)
            if low == high:
                break
            swapped = [after[1] + after[0] + after[2:]] if len(after) > 1 else []
            changed = [after[1:], *swapped] if after else []
            changed += [
                letter + rest for letter in self._letters for rest in ((after, after[1:]) if after else (after,))
            ]
            for rest in dict.fromkeys(changed):
                if self._any(before + rest + ending, low, high):
                    found.append(before + rest + ending)
        # A prefix of another one finds all that it finds.
        return [
            one for one in dict.fromkeys(found) if not any(one != other and one.startswith(other) for other in found)
        ]


def _keys(phrase: Phrase) -> Iterator[str]:
    """What a prefix is compared with: the phrase from the start of each of its words."""
    for start in phrase.starts:
        yield phrase.key[start:]


def _word_starts(text: str) -> Iterator[str]:
    yield text
    for at in range(1, len(text)):
        if text[at].isalnum() and not text[at - 1].isalnum():
            yield text[at:]


_SCHEMA = pa.schema([("text", pa.string()), ("kind", pa.string()), ("weight", pa.float64()),
                     ("starts", pa.list_(pa.int32()))])  # fmt: skip
