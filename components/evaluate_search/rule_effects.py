"""What rules of a merchandiser change in the answers of a bundle: a dry run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.shared.recommender.candidates import Source, chosen_items
from components.shared.recommender.recommender import Recommender
from components.shared.recommender.rules.config import Merchandising, WhenCategory, WhenQuery
from components.shared.recommender.rules.reordering import reordered, with_pins
from components.shared.recommender.rules.rulebook import Asked, Effects, Rulebook
from components.shared.recommender.rules.selection import Assortment
from components.shared.release.trust import trusted

NO_RULES = Merchandising()
_CATEGORIES = 20
"""Largest categories whose names are asked for, if no queries are given."""


@dataclass(frozen=True)
class RuleEffect:
    """What rules change for a query.

    Attributes:
        query: '' for the recommendations of a new shopper.
        rules: Names of those that act. redirect: What the frontend opens, '' for nothing.
        items: Ids of the answer with the rules.
        entered, left: Ids that only the answer with, and without the rules has.
        moved: Id -> position without and with the rules, from 1.
    """

    query: str
    rules: tuple[str, ...]
    redirect: str
    items: tuple[str, ...]
    entered: tuple[str, ...]
    left: tuple[str, ...]
    moved: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class RuleEffects:
    """What a file of rules changes.

    Attributes:
        queries: Number of queries that were asked.
        effects: Of those in which a rule acts or a fence changes the answer.
        unknown: Rule -> what it names that the catalog lacks.
        idle: Rules that act in none.
        title: Id -> title, of all items of the effects.
    """

    queries: int
    effects: tuple[RuleEffect, ...]
    unknown: dict[str, list[str]]
    idle: tuple[str, ...]
    title: dict[str, str]


def rule_effects(
    rules: Merchandising, bundle: Path, queries: Sequence[str], count: int, time: float, public_key: str = ""
) -> RuleEffects:
    """Ask queries and recommendations of a new shopper, without and with rules.

    Args:
        rules: The rules.
        bundle: Folder of the bundle.
        queries: Queries beside those that the rules name; none: the names of the largest categories.
        count: Items of an answer.
        time: Epoch seconds at which the rules should apply.
        public_key: Key that must have signed the bundle; '': any.

    Raises:
        BundleError: the bundle is incomplete or not trusted.
    """
    trusted(bundle, public_key)
    answers = _Answers(bundle, count, time)
    plain, ruled = answers.rulebook(NO_RULES), answers.rulebook(rules)
    asked = answers.different(["", *_named(rules), *(queries or answers.categories())])
    found, acting = [], set()
    for query in asked:
        before, _ = answers.to(query, plain)
        after, effects = answers.to(query, ruled)
        acting |= effects.acted.keys()
        if effects.acted or before != after:
            found.append(_effect(query, before, after, effects))
    items = {item for effect in found for item in (*effect.items, *effect.left)}
    idle = tuple(name for name in ruled.names if name not in acting)
    return RuleEffects(len(asked), tuple(found), ruled.unknown, idle, {item: answers.title(item) for item in items})


def _named(rules: Merchandising) -> Iterable[str]:
    """Texts and categories of the rules, as queries."""
    for rule in rules.rules:
        if isinstance(rule.when, WhenQuery):
            yield from rule.when.texts
        elif isinstance(rule.when, WhenCategory):
            yield from rule.when.names


def _effect(query: str, before: list[str], after: list[str], effects: Effects) -> RuleEffect:
    places = {item: (before.index(item) + 1, after.index(item) + 1) for item in after if item in before}
    return RuleEffect(
        query, tuple(effects.acted), effects.redirect, tuple(after),
        tuple(item for item in after if item not in before), tuple(item for item in before if item not in after),
        {item: (old, new) for item, (old, new) in places.items() if old != new},
    )  # fmt: skip


class _Answers:
    """Answers of a bundle to a shopper without history, at the end of its data, among available items."""

    def __init__(self, bundle: Path, count: int, time: float):
        self._recommender = Recommender.open(bundle)
        self._bundle, self._count, self._time = bundle, count, time
        spec, catalog = self._recommender.spec, self._recommender.catalog
        self._shopper = self._recommender.store.before(np.zeros(1), np.array([spec.as_of]), spec.max_history)
        self._allowed = catalog.available.copy()
        self._allowed[0] = False

    def rulebook(self, rules: Merchandising) -> Rulebook:
        """Rules for the bundle's catalog."""
        assert self._recommender.search is not None
        assortment = Assortment(self._recommender.catalog, self._bundle / "items.parquet")
        return Rulebook(rules, assortment, self._recommender.search.index.analyzer)

    def different(self, queries: Iterable[str]) -> list[str]:
        """Queries without those that are spelled otherwise only."""
        assert self._recommender.search is not None
        first: dict[str, str] = {}
        for query in queries:
            first.setdefault(self._recommender.search.index.analyzer.key(query) or query, query)
        return list(first.values())

    def categories(self) -> list[str]:
        """Names of the largest categories."""
        counts = self._recommender.catalog.categories.flatten().value_counts().to_pylist()
        ranked = sorted(counts, key=lambda entry: (-entry["counts"], entry["values"] or ""))
        return [entry["values"] for entry in ranked if entry["values"]][:_CATEGORIES]

    def title(self, item: str) -> str:
        """Title of an item; its id if it has none."""
        catalog = self._recommender.catalog
        return catalog.title[catalog.row_of[item]].as_py() or item

    def to(self, query: str, rules: Rulebook) -> tuple[list[str], Effects]:
        """Item ids of an answer, and what the rules did."""
        recommender, catalog = self._recommender, self._recommender.catalog
        read = recommender.understood(query)
        read = read if read is not None and read.words else None
        pinnable = recommender.search.allowed(read, self._allowed) if recommender.search and read else None
        effects = rules.effects(Asked(read, (), self._time), self._allowed, pinnable)
        pins = chosen_items(np.array(sorted({row for _, row, _ in effects.pins})), Source.PINNED)
        parts = [
            recommender.candidates(self._shopper, [read], effects.allowed, chosen=chosen)
            for chosen in ([None, pins] if effects.pins else [None])
        ]
        ranking, *pinned = recommender.ranked(parts, [len(catalog)] * len(parts))
        if effects.reorders:
            ranking = reordered(ranking, effects, catalog.list_price)
        if pinned:
            ranking = with_pins(ranking, pinned[0], effects, self._count)
        return catalog.item_id.take(ranking.item[: self._count]).to_pylist(), effects
