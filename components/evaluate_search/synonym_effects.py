"""What rules of synonyms change in a search: a dry run."""

from collections.abc import Sequence
from dataclasses import dataclass

from components.evaluate_search.catalog import SearchCatalog
from components.shared.search.config import parse_synonyms
from components.shared.search.searching import CatalogSearch

_COUNTED = 10_000
"""Items that are counted at most."""


@dataclass(frozen=True)
class SynonymEffect:
    """What a rule changes for one of its texts.

    Attributes:
        rule: The rule as it is written.
        text: The text, as a query.
        before, after: Number of items that cover the whole query, at most 10,000.
        unknown: Targets of the rule that no item has.
        best: Titles of the best three items with the rules.
    """

    rule: str
    text: str
    before: int
    after: int
    unknown: tuple[str, ...]
    best: tuple[str, ...]


def synonym_effects(lines: Sequence[str], catalog: SearchCatalog, search: CatalogSearch) -> list[SynonymEffect]:
    """Ask for each text that a rule expands, without and with all rules.

    Args:
        lines: Rules, see SearchOptions.synonyms.
        catalog: Items to search.
        search: Of the catalog, without rules.

    Raises:
        InputError: a line is no rule; the message names it.
    """
    rules = parse_synonyms(lines)
    expanded = search.with_synonyms(lines)
    effects = []
    for rule in rules:
        known = {text: bool(search.index.together(search.index.analyzer.terms(text).plain)) for text in rule.targets}
        for text in rule.sources:
            rows = _whole(expanded, text)
            effects.append(
                SynonymEffect(
                    rule.line, text, len(_whole(search, text)), len(rows),
                    tuple(target for target in rule.targets if target != text and not known[target]),
                    tuple(catalog.title(catalog.item_id[row]) for row in rows[:3]),
                )
            )  # fmt: skip
    return effects


def _whole(search: CatalogSearch, query: str) -> list[int]:
    """Rows of the items that cover all of a query, best first."""
    read = search.understand(query)
    found = search.index.search(query, read.words, _COUNTED)
    return found.item[found.coverage > _WHOLE * max(found.coverage.max(initial=0.0), _LEAST)].tolist()


_WHOLE, _LEAST = 0.85, 0.5
"""Share of what the best item covers, a synonym counting less than the word; what the best must cover at least."""
