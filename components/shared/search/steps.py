"""Steps of a search that may be switched off, one at a time, to measure what each is worth."""

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True)
class SearchSteps:
    """Which steps a search has. Each is on, as shops use it, or off."""

    spelling: bool = True
    """Words that no item has are corrected, or cut in two; off: they are searched as they are written."""
    synonyms: bool = True
    """Rules of the shop apply."""
    intents: bool = True
    """Prices, exclusions and 'cheap' are read; off: they are words like others."""
    names: bool = True
    """Items whose brand or category the query names come first."""
    relaxing: bool = True
    """Prices that no item has, and words that some items lack, are left out; off: an item has all of the query."""
    field_weights: bool = True
    """A match in the title weighs more than one in the description; off: all fields weigh 1."""
    coverage: bool = True
    """The share of the query's idf that an item covers counts; off: BM25 alone orders, and nothing is left out."""
    meaning: bool = True
    """The dense leg finds and ranks items by what they mean."""
    relevance: bool = True
    """The relevance model ranks what was found; off: the score of the words does."""

    def without(self, step: str) -> "SearchSteps":
        """The same without one step."""
        return replace(self, **{step: False})


STEPS = tuple(field.name for field in fields(SearchSteps))
"""Names of all steps."""
EVERY_STEP = SearchSteps()
