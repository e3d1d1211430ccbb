"""What the peers have in common: the texts that they index, ways to put a query, and an engine that answers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from components.evaluate_search.catalog import SearchCatalog
from components.shared.search.documents import Field, read_documents

TEXTS = {"title": Field.TITLE, "brand": Field.BRAND, "description": Field.DESCRIPTION, "attributes": Field.ATTRIBUTES}
"""Fields of the peers, with the texts that shoprank indexes for them."""

_BATCH = 1_000

Way = Mapping[str, Any]
"""One way to put a query to an engine: parameters of its request."""

Levels = tuple[str, ...]
"""Name of a way: what was taken of each choice; '' for nothing."""


def batches(catalog: SearchCatalog) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Id and fields of the items; `row` is the place in the catalog, for the order of equally good ones."""
    documents = enumerate(read_documents(catalog.table))
    while batch := list(islice(documents, _BATCH)):
        yield [
            (document.item_id, {"row": row, **{name: document.text(field) for name, field in TEXTS.items()}})
            for row, document in batch
        ]


class Engine(Protocol):
    """A running engine that holds the catalog.

    Attributes:
        index_seconds: Time from the first document to the first possible search.
    """

    index_seconds: float

    def ask(self, way: Way, query: str, count: int, among: Sequence[str] | None = None) -> list[str]:
        """Ids of the best `count` items, best first, of the given ones alone if there are any given."""
        ...

    def memory_mb(self) -> float:
        """Resident memory of the process now."""
        ...

    def floor_ms(self) -> float:
        """Median time of a request that searches nothing."""
        ...


@dataclass(frozen=True)
class Peer:
    """An engine beside which shoprank is measured.

    Attributes:
        name: With its version. running: Start it with a catalog.
        chosen: The way that was chosen before any figure was seen. words: How it puts a query.
        ways: What cross-validation chooses from: every combination of the levels of its choices.
        setting: How it was set up.
    """

    name: str
    running: Callable[[SearchCatalog], AbstractContextManager[Engine]]
    chosen: Way
    words: str
    ways: Mapping[Levels, Way]
    setting: str


class PeerSearch:
    """Searches of an engine: each query is put in its own way.

    Args:
        engine: That answers. way_of: The way for a query.
    """

    def __init__(self, engine: Engine, way_of: Callable[[str], Way]):
        self._engine, self._way_of = engine, way_of

    def search(self, query: str, count: int) -> list[str]:
        """What the engine finds."""
        return self._engine.ask(self._way_of(query), query, count)

    def rank(self, query: str, item_ids: Sequence[str]) -> list[str]:
        """What the engine finds among the given items, then the others."""
        found = self._engine.ask(self._way_of(query), query, len(item_ids), item_ids)
        return list(dict.fromkeys([*found, *item_ids]))
