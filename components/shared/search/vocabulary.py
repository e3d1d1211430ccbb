"""Words of a catalog as they are written, with their weight: what a misspelt word may have meant.

The weight of a word is the number of items that have it, plus how often these are asked for, plus the number of
searches with it that lead somewhere (query_log.py). A word of searches alone is none of the catalog, and nothing is
corrected to it, unless it is a synonym of one: 'couch', where items say 'sofa'.

Lookup by Levenshtein automaton (tantivy's fuzzy query) takes no time to start and no memory of its own; a table of
deletions (SymSpell) took 25 MB and 0.2 s for 10,600 words.

Source: Damerau, A technique for computer detection and correction of spelling errors (1964): one edit is an insertion,
a deletion, a substitution or an exchange of neighbours.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import repeat
from pathlib import Path

import numpy as np
import pyarrow as pa
import tantivy

from components.shared.search.tantivy_folder import ROW, OpenIndex, create_index
from components.shared.text.analyzer import Analyzer
from components.shared.text.scripts import fold

_WORD = "word"
_WRITTEN = re.compile(r"[^\W\d_]{3,}")
_SHORTEST, SHORTEST_FOR_TWO = 4, 8
"""Letters that a word must have to be corrected by one and by two edits: two turn 'garmin' into 'gaming'."""
_LOOKED_AT, _WEIGHED = 100, 10
"""Candidates that are looked at, and those that are tried beside the other words of the query."""


class CatalogWords:
    """Words of a catalog.

    Args:
        analyzer: Of the catalog. index: The index of the words.
        words: The words, row by row.
        weights: float64 [words], see the module.
    """

    def __init__(self, analyzer: Analyzer, index: OpenIndex, words: list[str], weights: np.ndarray):
        self._analyzer, self._index, self._words, self._weights = analyzer, index, words, weights

    @classmethod
    def build(
        cls, texts: Iterable[str], folder: Path, analyzer: Analyzer, weights: Iterable[float] | None = None,
        searches: Mapping[str, float] | None = None, synonyms: Iterable[str] = (),
    ) -> None:  # fmt: skip
        """Write the words of items into an empty folder.

        Args:
            texts: One per item.
            folder: Where to write.
            analyzer: Of the catalog.
            weights: One per item, how often it is asked for; None for all alike.
            searches: Word -> number of searches with it that lead somewhere.
            synonyms: Words that no item has, but what they stand for.
        """
        weighed: Counter[str] = Counter()
        for text, weight in zip(texts, weights if weights is not None else repeat(1.0)):  # noqa: B905
            for word in set(written_words(text)):
                weighed[word] += 1 + weight  # pyright: ignore[reportArgumentType]
        known = weighed.keys() | set(synonyms)
        for word, count in (searches or {}).items():
            if word in known:
                weighed[word] += count  # pyright: ignore[reportArgumentType]
        rows = sorted(weighed.items(), key=lambda entry: (-entry[1], entry[0]))
        builder = tantivy.SchemaBuilder()
        builder.add_text_field(_WORD, tokenizer_name="raw", index_option="basic")
        with create_index(builder, folder) as writer:
            for row, (word, _) in enumerate(rows):
                # By its stem a word is found for another form of it: 'bluebery' for 'blueberries'.
                forms = list(dict.fromkeys([word, *analyzer.terms(word).plain]))
                writer.add_document(tantivy.Document(**{_WORD: forms, ROW: row}))
        table = pa.table({"word": [word for word, _ in rows], "weight": pa.array([n for _, n in rows], pa.float64())})
        with pa.OSFile(str(folder / "words.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as out:
            out.write_table(table)

    @classmethod
    def load(cls, folder: Path, analyzer: Analyzer) -> "CatalogWords":
        """Open what `build` wrote."""
        with pa.memory_map(str(folder / "words.arrow")) as file:
            table = pa.ipc.open_file(file).read_all()
        return cls(analyzer, OpenIndex(folder), table["word"].to_pylist(), table["weight"].to_numpy())

    def correction(self, word: str, beside: Callable[[str], float] = lambda _: 0.0) -> str:
        """The catalog's word that a word which it lacks was probably meant to be; '' for none.

        The fewest edits win, then what fits best beside the other words of the query, then the same first letter, then
        the largest weight.

        Args:
            word: Folded.
            beside: How well a word of the catalog fits the rest of the query; more is better, below 0 not at all.
        """
        if len(word) < _SHORTEST or not _WRITTEN.fullmatch(word):
            return ""
        for edits in (1, 2)[: 1 + (len(word) >= SHORTEST_FOR_TWO - 2)]:
            near = [row for row in self._near(word, edits) if self._may_be(word, self._words[row], edits)]
            if near:
                distance = {row: edit_distance(word, self._words[row]) for row in near}
                near.sort(key=lambda row: (distance[row], self._words[row][0] != word[0], -self._weights[row], row))
                best = max(near[:_WEIGHED], key=lambda row: beside(self._words[row]))
                return self._words[best] if beside(self._words[best]) >= 0 else ""
        return ""

    def _may_be(self, word: str, meant: str, edits: int) -> bool:
        """Whether so many edits, of the words or their stems, are allowed for words of these lengths.

        Short stems are near to each other without their words being so: 'wedding' is no 'red'.
        """
        longest = max(len(word), len(meant))
        return (edits == 1 or longest >= SHORTEST_FOR_TWO) and 2 * edit_distance(word, meant) <= longest

    def _near(self, word: str, edits: int) -> list[int]:
        forms = dict.fromkeys([word, *self._analyzer.terms(word).plain])
        near = [tantivy.Query.fuzzy_term_query(self._index.schema, _WORD, form, distance=edits) for form in forms]
        rows, _ = self._index.search(tantivy.Query.disjunction_max_query(near), _LOOKED_AT)
        return [row for row in rows.tolist() if len(self._words[row]) >= _SHORTEST - 1]


def written_words(text: str) -> Iterator[str]:
    """Words of letters alone, folded, as they are written."""
    for found in _WRITTEN.finditer(fold(text)):
        yield found.group()


def edit_distance(one: str, other: str) -> int:
    """Insertions, deletions, substitutions and exchanges of neighbours between two words.

    >>> edit_distance("keybaord", "keyboard"), edit_distance("soks", "socks")
    (1, 1)
    """
    before, row = [0] * (len(other) + 1), list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        older, before, row = before, row, [i]
        for j, its in enumerate(other, 1):
            least = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != its))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == its:
                least = min(least, older[j - 2] + 1)
            row.append(least)
    return row[-1]
