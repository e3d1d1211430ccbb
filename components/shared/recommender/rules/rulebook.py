"""Rules that are made ready for a catalog: which apply to a request, and what they do to it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from components.shared.recommender.rules.config import (
    Action,
    Boost,
    Bury,
    Fences,
    Filter,
    Hide,
    Merchandising,
    Pin,
    Redirect,
    Rule,
    Selector,
    WhenCategory,
    WhenQuery,
)
from components.shared.recommender.rules.selection import Assortment
from components.shared.search.understanding import Understanding
from components.shared.text.analyzer import Analyzer, Word

_CONDITIONS = {"any_query", "recommendation", "always"}


@dataclass(frozen=True)
class Asked:
    """What of a request rules look at.

    Attributes:
        query: What its query is understood as; None for a recommendation.
        categories: Names in its filter.
        time: Epoch seconds.
    """

    query: Understanding | None
    categories: Sequence[str]
    time: float


@dataclass(frozen=True)
class Factor:
    """A factor of the score of some items: rows, int64, ascending, and the rule that says so."""

    rule: str
    rows: np.ndarray
    factor: float


@dataclass
class Effects:
    """What rules and fences do to a request.

    Attributes:
        allowed: bool [items], items that may be answered.
        factors: Of scores.
        pins: (position from 0, row, rule), those of earlier rules first.
        redirect: Address that the frontend opens, '' for none.
        price_ratio: See Fences; None when it does not count.
        acted: Names of the rules that did something; those of pins and factors are added when they are put to use.
    """

    allowed: np.ndarray
    factors: list[Factor] = field(default_factory=list)
    pins: list[tuple[int, int, str]] = field(default_factory=list)
    redirect: str = ""
    price_ratio: float | None = None
    acted: dict[str, None] = field(default_factory=dict)

    @property
    def reorders(self) -> bool:
        """Whether an answer's items have other positions than without them."""
        return bool(self.factors or self.pins or self.price_ratio)


@dataclass(frozen=True)
class _Ready:
    """A rule with the rows, int64, of the items of each action; of a redirect there are none."""

    rule: Rule
    period: tuple[float, float]
    actions: tuple[tuple[Action, np.ndarray], ...]


class Rulebook:
    """Rules over one catalog.

    Args:
        merchandising: The rules.
        assortment: The items.
        analyzer: Of the catalog: it reads the texts of rules as it reads queries.

    Attributes:
        unknown: Rule name -> what it names that the catalog lacks.
    """

    def __init__(self, merchandising: Merchandising, assortment: Assortment, analyzer: Analyzer):
        self.fences, self._analyzer = merchandising.fences, analyzer
        self.names = tuple(rule.name for rule in merchandising.rules)
        self.unknown: dict[str, list[str]] = {}
        self._rules = [self._ready(rule, assortment) for rule in merchandising.rules]
        self._price = assortment.catalog.list_price
        self._fenced = _fenced(self.fences, assortment)
        self._exact: dict[str, list[int]] = defaultdict(list)
        self._by_term: dict[str, list[tuple[int, tuple[str, ...], bool]]] = defaultdict(list)
        self._by_category: dict[str, list[int]] = defaultdict(list)
        self._always: dict[str, list[int]] = {kind: [] for kind in _CONDITIONS}
        for at, rule in enumerate(merchandising.rules):
            self._enter(at, rule)

    def _ready(self, rule: Rule, assortment: Assortment) -> _Ready:
        unknown: list[str] = []
        actions = []
        for action in rule.actions:
            if isinstance(action, Selector):
                rows = assortment.rows(action, unknown)
            else:
                items = action.items if isinstance(action, Pin) else ()
                rows = np.array(assortment.row_of(items, unknown), np.int64)
            actions.append((action, rows))
        if unknown:
            self.unknown[rule.name] = list(dict.fromkeys(unknown))
        return _Ready(rule, rule.period, tuple(actions))

    def _enter(self, at: int, rule: Rule) -> None:
        match rule.when:
            case WhenQuery(texts=texts, match=kind):
                for text in texts:
                    terms = tuple(_terms(self._analyzer.words(text)))
                    if not terms:
                        self.unknown.setdefault(rule.name, []).append(f"a word in '{text}'")
                    elif kind == "is":
                        self._exact[" ".join(terms)].append(at)
                    else:
                        self._by_term[terms[0]].append((at, terms, kind == "contains"))
            case WhenCategory(names=names):
                for name in names:
                    self._by_category[self._analyzer.key(name)].append(at)
            case other:
                self._always[other.kind].append(at)

    def effects(self, asked: Asked, allowed: np.ndarray, pinnable: np.ndarray | None = None) -> Effects:
        """What the rules that apply to a request do to it.

        Args:
            asked: The request.
            allowed: bool [items], items that its filters leave.
            pinnable: bool [items], items that its prices and exclusions leave too; None: all.
        """
        found = Effects(allowed & self._fenced if self._fenced is not None else allowed.copy())
        intents = asked.query and asked.query.intents
        if self.fences.price_ratio and intents and not (intents.priced or intents.cheap):
            found.price_ratio = self.fences.price_ratio
        pins: list[tuple[int, np.ndarray, str]] = []
        for at in self._applying(asked):
            ready = self._rules[at]
            if ready.period[0] <= asked.time < ready.period[1]:
                for action, rows in ready.actions:
                    _act(found, pins, ready.rule.name, action, rows)
        may = found.allowed if pinnable is None else found.allowed & pinnable
        for position, rows, name in pins:
            # The items after one that may not be answered move up.
            found.pins += [(position + offset, row, name) for offset, row in enumerate(rows[may[rows]].tolist())]
        return found

    def _applying(self, asked: Asked) -> list[int]:
        """Positions of the rules whose condition a request meets, ascending."""
        found = set(self._always["always"])
        found.update(self._always["recommendation" if asked.query is None else "any_query"])
        names = list(asked.categories)
        if asked.query is not None:
            names += [label.name for label, _ in asked.query.labels if label.kind == "category"]
            # Both as it is understood and as it is written: a rule may be about a word that no item has.
            for words in (asked.query.words, self._analyzer.words(asked.query.query)):
                found.update(self._by_words(_terms(words)))
        if self._by_category:
            found.update(at for name in names for at in self._by_category.get(self._analyzer.key(name), ()))
        return sorted(found)

    def _by_words(self, terms: list[str]) -> Iterator[int]:
        yield from self._exact.get(" ".join(terms), ())
        for term in dict.fromkeys(terms):
            for at, wanted, in_order in self._by_term.get(term, ()):
                if _follow(wanted, terms) if in_order else set(wanted) <= set(terms):
                    yield at


def _terms(words: Sequence[Word]) -> list[str]:
    return [term for word in words for term in word.alternatives[0].terms]


def _follow(wanted: tuple[str, ...], terms: list[str]) -> bool:
    """Whether terms follow each other in others."""
    return any(tuple(terms[at : at + len(wanted)]) == wanted for at in range(len(terms) - len(wanted) + 1))


def _act(found: Effects, pins: list[tuple[int, np.ndarray, str]], name: str, action: Action, rows: np.ndarray) -> None:
    match action:
        case Boost(factor=factor) | Bury(factor=factor):
            found.factors.append(Factor(name, rows, factor))
        case Pin(position=position):
            pins.append((position - 1, rows, name))
        case Redirect(to=address):
            if not found.redirect:
                found.redirect = address
                found.acted[name] = None
        case Hide():
            if found.allowed[rows].any():
                found.allowed[rows] = False
                found.acted[name] = None
        case Filter():
            left = np.zeros_like(found.allowed)
            left[rows] = found.allowed[rows]
            if (left != found.allowed).any():
                found.acted[name] = None
            found.allowed = left


def _fenced(fences: Fences, assortment: Assortment) -> np.ndarray | None:
    """Items within the fences, bool [items]; None if there is no fence."""
    catalog, price = assortment.catalog, assortment.catalog.list_price
    parts = [] if fences.unavailable else [catalog.available]
    parts += [] if fences.without_price else [np.isfinite(price)]
    # An unknown price is outside of no bounds: `without_price` is about it.
    parts += [] if fences.price_min is None else [~(price < fences.price_min)]
    parts += [] if fences.price_max is None else [~(price > fences.price_max)]
    return np.logical_and.reduce(parts) if parts else None
