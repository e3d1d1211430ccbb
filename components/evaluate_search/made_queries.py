"""Judgments that follow from a catalog, for shops that have none: to compare versions of a search, not to praise one.

One item in ten, chosen by a digest of its id, lends its title: the choice stays as the catalog changes. Queries are the
first words of such titles, the same with a typing error, and names of categories. An item is right if its title has
all the words, or if it is in the category; whoever asks so may want others too, so that figures are only comparable
with each other.
"""

import hashlib
import io
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.evaluate_search.catalog import SearchCatalog
from components.shared.errors import InputError
from components.shared.storage import make_folder, write_bytes

_HELD_OUT = 10
"""One item in so many lends its title."""
_WORDS = 4
"""Words of a query at most."""
_SHORTEST_MISTYPED = 5
_LEAST_ITEMS = 2
"""Items of a category whose name is asked for."""
RIGHT, IN_TITLE = 3.0, 2.0
"""Grades of an item that was asked for, and of one outside the category that has its name in the title."""
_WORD = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True)
class MadeQuery:
    """A query with its grades.

    Attributes:
        kind: title, mistyped or category.
        text: The query.
        grades: Item id -> grade.
    """

    kind: str
    text: str
    grades: dict[str, float]


def made_queries(catalog: SearchCatalog, count: int) -> list[MadeQuery]:
    """Make queries of each kind from a catalog; fewer where it has fewer titles or categories.

    Args:
        catalog: Items with titles.
        count: Queries of each kind.
    """
    titles = _Titles(catalog.table["title"].to_pylist(), catalog.item_id)
    held_out = [text for name, text in titles.pairs() if _digest(name) % _HELD_OUT == 0]
    queries = _chosen((" ".join(_words(text)[:_WORDS]) for text in held_out), count)
    found = [MadeQuery("title", text, titles.right(text)) for text in queries]
    found += [
        MadeQuery("mistyped", mistyped, titles.right(text)) for text in queries if (mistyped := _mistyped(text)) != text
    ]
    return [*found, *_category_queries(catalog, titles, count)]


def write_made_queries(catalog: SearchCatalog, count: int, path: Path) -> dict[str, int]:
    """Write them as a Parquet file with columns query, item_id, grade, kind; returns their number by kind.

    Raises:
        InputError: the catalog has no title with a word, so that there is nothing to ask.
    """
    queries = made_queries(catalog, count)
    if not queries:
        raise InputError(f"no title of '{catalog.source}' has a word to ask for", "map the column of the titles")
    rows = [(one.text, name, grade, one.kind) for one in queries for name, grade in one.grades.items()]
    columns = dict(zip(("query", "item_id", "grade", "kind"), zip(*rows, strict=True), strict=True))
    buffer = io.BytesIO()
    pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), buffer)
    make_folder(path.parent)
    write_bytes(path, buffer.getvalue())
    counts: dict[str, int] = defaultdict(int)
    for one in queries:
        counts[one.kind] += 1
    return dict(counts)


class _Titles:
    """Items by the words of their titles."""

    def __init__(self, titles: Sequence[str | None], names: Sequence[str]):
        self._titles, self._names = [text or "" for text in titles], list(names)
        self._holding: dict[str, set[int]] = defaultdict(set)
        for row, text in enumerate(self._titles):
            for word in _words(text):
                self._holding[word].add(row)

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Ids with titles."""
        return zip(self._names, self._titles, strict=True)

    def right(self, query: str, grade: float = RIGHT) -> dict[str, float]:
        """Items whose titles have all words of a query, with a grade."""
        rows = set.intersection(*(self._holding.get(word, set()) for word in _words(query)))
        return {self._names[row]: grade for row in sorted(rows)}


def _category_queries(catalog: SearchCatalog, titles: _Titles, count: int) -> list[MadeQuery]:
    held = catalog.table["categories"].to_pylist() if "categories" in catalog.table.column_names else []
    members: dict[str, list[str]] = defaultdict(list)
    for name, levels in zip(catalog.item_id, held, strict=False):
        for level in dict.fromkeys(levels or ()):
            members[" ".join(_words(level))].append(name)
    named = (text for text, items in members.items() if text and len(items) >= _LEAST_ITEMS)
    return [
        MadeQuery("category", text, {**titles.right(text, IN_TITLE), **dict.fromkeys(members[text], RIGHT)})
        for text in _chosen(named, count)
    ]


def _words(text: str) -> list[str]:
    """Words without digits, folded; those of Chinese stay whole runs."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def _mistyped(query: str) -> str:
    """The query with two neighbouring letters of its longest word exchanged, where that makes another word."""
    longest = max(query.split(), key=len)
    if len(longest) < _SHORTEST_MISTYPED or not longest.isascii():
        return query
    at = 1 + _digest(query) % (len(longest) - 2)
    return query.replace(longest, longest[:at] + longest[at + 1] + longest[at] + longest[at + 2 :], 1)


def _chosen(texts: Iterable[str], count: int) -> list[str]:
    """So many different texts, always the same ones."""
    return sorted(filter(None, dict.fromkeys(texts)), key=_digest)[:count]


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
