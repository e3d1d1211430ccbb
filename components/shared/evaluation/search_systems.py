"""What a search must offer to be measured: an answer from the catalog, and an order of given items."""

from collections.abc import Sequence
from typing import Protocol


class SearchSystem(Protocol):
    """A search over one catalog; the same question always has the same answer."""

    def search(self, query: str, count: int) -> list[str]:
        """Item ids of the best `count` results, best first; fewer, or none, if fewer items match."""
        ...

    def rank(self, query: str, item_ids: Sequence[str]) -> list[str]:
        """The given ids, all of the catalog and distinct, best first; equally good ones keep their order."""
        ...
