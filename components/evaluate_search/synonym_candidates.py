"""Candidates of synonyms from a query log, as lines of a file of rules that a merchandiser reviews."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from components.evaluate_search.reformulations import QueryPair, SearchLog, of_the_same_items, read_log, reformulated
from components.ingest_events.events import opened_events
from components.shared.errors import InputError
from components.shared.schema.data_options import DataOptions
from components.shared.search.config import parse_synonyms
from components.shared.search.searching import CatalogSearch
from components.shared.search.synonyms import Synonyms
from components.shared.search.vocabulary import SHORTEST_FOR_TWO, edit_distance
from components.shared.text.scripts import fold

LEAST_LIFT, LEAST_COSINE = 2.0, 0.5
"""Least strength of a reformulation, and of two queries that lead to the same items."""
MOST = 1_000
"""Lines of a file."""
_SYNTAX = (",", "=>", "#")


@dataclass(frozen=True)
class SynonymCandidate:
    """A rule that may be one.

    Attributes:
        source, target: Texts.
        both: Whether each finds the other, rather than only `source` the items of `target`.
        shoppers: Distinct shoppers that show it.
        lift, cosine: See QueryPair; None if it was not found that way.
    """

    source: str
    target: str
    both: bool
    shoppers: int
    lift: float | None
    cosine: float | None

    @property
    def line(self) -> str:
        """The rule with what speaks for it as a comment."""
        figures = [f"{self.shoppers:,} shoppers"]
        figures += [f"lift {self.lift:.1f}"] if self.lift is not None else []
        figures += [f"cosine {self.cosine:.2f} of the items taken"] if self.cosine is not None else []
        return f"{self.source}{', ' if self.both else ' => '}{self.target}  # {', '.join(figures)}"


@dataclass(frozen=True)
class Mined:
    """What a log offers.

    Attributes:
        candidates: Those of most shoppers first, at most MOST.
        log: What was read.
    """

    candidates: tuple[SynonymCandidate, ...]
    log: SearchLog

    def text(self) -> str:
        """Content of a file of rules."""
        about = (
            f"# Candidates from {self.log.searches:,} searches of {self.log.shoppers:,} shoppers. Delete what is wrong:"
            " 'a => b' if those who search a also want b, 'a, b' for both ways."
        )
        return "\n".join([about, *(one.line for one in self.candidates), ""])


def mine_synonyms(
    source: str, data: Mapping[str, Any], search: CatalogSearch, shoppers: int, known: Sequence[str] = ()
) -> Mined:
    """Find pairs of queries that shoppers use for the same, and that the search does not take for the same.

    Left out are misspellings, which are corrected without a rule, a query that only narrows or widens the other, a pair
    that the rules have, and a target with a word that no item has.

    Args:
        source: Events: file, folder, URI or glob.
        data: Options of DataOptions, such as mapping.
        search: Search of the catalog.
        shoppers: Least number of distinct shoppers, at least 2: a query of one shopper may be private.
        known: Rules that the shop has.

    Raises:
        InputError: the events have no searches with a query, or cannot be read; or `shoppers` is too few.
        SchemaError: a mapped column is missing.
        DataError: no event is valid.
    """
    if shoppers < 2:
        raise InputError(f"shoppers is {shoppers}", "give 2 or more: a query of one shopper may be private")
    with opened_events(source, DataOptions.read(data, "data")) as (events, _):
        log = read_log(events)
        if not log.searches:
            raise InputError(
                f"events '{source}' have no searches with a query",
                "map the column with the query to events.query, and the word for searches in event_types",
            )
        pairs = [*reformulated(events, shoppers, LEAST_LIFT), *of_the_same_items(events, shoppers, LEAST_COSINE)]
    candidates = _merged(pairs, _Catalog(search, known))
    ordered = sorted(candidates, key=lambda one: (-one.shoppers, -(one.lift or 0.0), one.source, one.target))
    return Mined(tuple(ordered[:MOST]), log)


class _Catalog:
    """What a catalog and the rules of a shop say of a pair of queries."""

    def __init__(self, search: CatalogSearch, known: Sequence[str]):
        self._index = search.index
        self._rules = Synonyms(parse_synonyms(known), search.index)

    def finds(self, query: str) -> bool:
        """Whether an item has all of a query."""
        return bool(self._index.together(self._index.analyzer.terms(query).plain))

    def differ(self, pair: QueryPair) -> bool:
        """Whether neither query is the other one, misspelt, narrowed or by a rule."""
        one, other = (self._terms(query) for query in (pair.source, pair.target))
        return bool(
            one and other and not one <= other and not other <= one
            and not misspelling(pair.source, pair.target)
            and tuple(self._index.analyzer.terms(pair.target).plain) not in self._rules.of(pair.source)
        )  # fmt: skip

    def _terms(self, query: str) -> set[str]:
        return {term for word in self._index.analyzer.words(query) for term in word.alternatives[0].terms}


def misspelling(one: str, other: str) -> bool:
    """Whether two queries differ by their spelling, or one is within the other.

    One edit below 8 letters, else two, without blanks or word by word: 'key board', 'grey soffa' for 'gray sofa'.

    >>> misspelling("tolet paper", "toilet paper"), misspelling("icecream", "ice cream"), misspelling("tp", "sofa")
    (True, True, False)
    """
    words, others = fold(one).split(), fold(other).split()
    joined, its = "".join(words), "".join(others)
    by_word = len(words) == len(others) and all(map(_near, words, others))
    return joined in its or its in joined or _near(joined, its) or by_word


def _writable(query: str) -> bool:
    return query.isprintable() and not any(mark in query for mark in _SYNTAX)


def _near(one: str, other: str) -> bool:
    return edit_distance(one, other) <= (2 if max(len(one), len(other)) >= SHORTEST_FOR_TWO else 1)


def _merged(pairs: Iterable[QueryPair], catalog: _Catalog) -> list[SynonymCandidate]:
    """One candidate of all that speaks for a pair; from a query that no item has it goes one way."""
    found: dict[frozenset[str], SynonymCandidate] = {}
    for pair in pairs:
        if not (_writable(pair.source) and _writable(pair.target) and catalog.differ(pair)):
            continue
        key = frozenset((pair.source, pair.target))
        if (before := found.get(key)) is None:
            if not catalog.finds(pair.target):
                if pair.lift is not None or not catalog.finds(pair.source):
                    continue
                pair = replace(pair, source=pair.target, target=pair.source)
            both = pair.lift is None and catalog.finds(pair.source)
            found[key] = SynonymCandidate(pair.source, pair.target, both, pair.shoppers, pair.lift, pair.cosine)
            continue
        lift = max(filter(None, (before.lift, pair.lift)), default=None)
        found[key] = replace(
            before, both=catalog.finds(before.source), shoppers=max(before.shoppers, pair.shoppers), lift=lift,
            cosine=pair.cosine if pair.cosine is not None else before.cosine,
        )  # fmt: skip
    return list(found.values())
