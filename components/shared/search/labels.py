"""Names of brands, categories and attributes of a catalog, found in the words of a query."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa

from components.shared.search.documents import Document, Field
from components.shared.search.index import SearchIndex
from components.shared.text.analyzer import Word

Kind = Literal["brand", "category", "attribute"]
FIELD_OF: dict[str, Field] = {"brand": Field.BRAND, "category": Field.CATEGORY, "attribute": Field.ATTRIBUTES}
_LONGEST = 4
"""Words of the longest name that is looked for."""
_LEAST_ITEMS = 2
_LEAST_SHARE = 0.5
"""Share of the items with the words of an attribute's value that have it as this attribute: 'red' is a colour."""
_ORDER = ("brand", "category", "attribute")
"""Which kind a name is that is of several."""


@dataclass(frozen=True)
class Label:
    """A name of the catalog.

    Attributes:
        kind: Of what it is the name.
        name: As the catalog writes it most often; of an attribute its value.
        items: Number of items with it.
        attribute: Name of the attribute, else ''.
    """

    kind: Kind
    name: str
    items: int
    attribute: str = ""


class Labels:
    """Names of a catalog by their analysed form."""

    def __init__(self, by_key: dict[str, Label]):
        self._by_key = by_key

    @classmethod
    def of(cls, documents: Iterable[Document], index: SearchIndex) -> "Labels":
        """Collect the names of at least two items; values of attributes that are seldom something else."""
        counts: Counter[tuple[str, str, str]] = Counter()
        for document in documents:
            counts.update(dict.fromkeys(_names(document), 1))
        found: dict[str, Label] = {}
        ranked = sorted(counts.items(), key=lambda entry: (_ORDER.index(entry[0][0]), -entry[1], entry[0]))
        for (kind, attribute, name), items in ranked:
            # Most names are of one item: only those that may be kept are analysed.
            key = index.analyzer.key(name) if items >= _LEAST_ITEMS else ""
            if not 0 < len(key.split()) <= _LONGEST or key.replace(".", "").isdigit():
                continue
            holding = min(map(index.postings.frequency, key.split()))
            if kind != "attribute" or items >= _LEAST_SHARE * holding:
                found.setdefault(key, Label(kind, name, items, attribute))  # pyright: ignore[reportArgumentType]
        return cls(found)

    def save(self, path: Path) -> None:
        """Write the names."""
        columns = {"key": list(self._by_key)}
        columns |= {name: [getattr(label, name) for label in self._by_key.values()] for name in _COLUMNS}
        table = pa.table(columns, schema=_SCHEMA)
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)

    @classmethod
    def load(cls, path: Path) -> "Labels":
        """Read what `save` wrote."""
        with pa.memory_map(str(path)) as file:
            rows = pa.ipc.open_file(file).read_all().to_pylist()
        return cls({row.pop("key"): Label(**row) for row in rows})

    def found(self, words: Sequence[Word]) -> Iterator[tuple[Label, Sequence[Word]]]:
        """Yield the longest names in the words of a query, each with its words."""
        at = 0
        while at < len(words):
            for length in range(min(_LONGEST, len(words) - at), 0, -1):
                span = words[at : at + length]
                key = " ".join(term for word in span for term in word.alternatives[0].terms)
                if label := self._by_key.get(key):
                    yield label, span
                    at += length - 1
                    break
            at += 1


_COLUMNS = ("kind", "name", "items", "attribute")
_SCHEMA = pa.schema([("key", pa.string()), ("kind", pa.string()), ("name", pa.string()), ("items", pa.int64()),
                     ("attribute", pa.string())])  # fmt: skip


def _names(document: Document) -> Iterator[tuple[str, str, str]]:
    if document.brand:
        yield "brand", "", document.brand
    for level in document.categories:
        yield "category", "", level
    for attribute, value in document.attributes:
        yield "attribute", attribute, value
