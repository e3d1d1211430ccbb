"""What happens to candidates and rankings beside the models: rules, fences, related items, diversity."""

import time
from dataclasses import dataclass, replace

import numpy as np

from components.shared.recommender.batches import Ranking
from components.shared.recommender.candidates import Candidates, Source, chosen_items
from components.shared.recommender.diversity import MAX_DIVERSIFIED, Likeness, diversified
from components.shared.recommender.recommender import Recommender
from components.shared.recommender.related import Related, RelatedItems
from components.shared.recommender.rules.reordering import reordered
from components.shared.recommender.rules.rulebook import Asked, Effects, Rulebook
from components.shared.search.searching import CatalogSearch
from components.shared.search.understanding import Understanding
from components.shared.wording import counted
from serving.protocol import RELATIONS, Instance

_TITLE = 60
"""Letters of a title in a reason."""
_RELATED = 100
"""Related items that are ranked at least: boosts and diversity choose among them."""
_LIKENESS_SHARE = 0.5
"""Weight of the likeness with the item of `more_like` in the score; both are first divided by their best value."""


@dataclass(frozen=True)
class Plan:
    """What happens to one instance beside the models.

    Attributes:
        effects: Rules and fences that apply, with the items that may be answered.
        relation: Which of RELATIONS the instance gives, '' for none.
        seeds: Catalog rows of the items that it gives.
        related: Items related to them, which are the candidates; None: those of the query or the shopper are.
        diversity: See Instance.
        permitted: bool [items], what rules and fences leave of the whole catalog, for facets; None: everything.
    """

    effects: Effects
    relation: str = ""
    seeds: tuple[int, ...] = ()
    related: Related | None = None
    diversity: float = 0.0
    permitted: np.ndarray | None = None

    @property
    def for_everyone(self) -> bool:
        """Whether the answer is the same for all shoppers."""
        return self.relation in ("similar_to", "bought_with")

    @property
    def reorders(self) -> bool:
        """Whether more candidates must be ranked than are answered."""
        return bool(self.effects.reorders or self.relation or self.diversity)

    @property
    def chosen(self) -> Candidates | None:
        """The candidates, where they are related items."""
        return None if self.related is None else chosen_items(self.related.item, Source.RELATED)

    @property
    def pins(self) -> Candidates | None:
        """Pinned items."""
        rows = {row for _, row, _ in self.effects.pins}
        return chosen_items(np.array(sorted(rows)), Source.PINNED) if rows else None


class Reranker:
    """Plans what happens to instances, and does it to their rankings.

    Args:
        recommender: One opened bundle.
        search: Its search.
    """

    def __init__(self, recommender: Recommender, search: CatalogSearch):
        self._recommender, self._catalog, self._search = recommender, recommender.catalog, search
        self._related = RelatedItems(recommender.catalog, recommender.index, recommender.neighbours, search.index)

    def plan(
        self, instance: Instance, query: Understanding | None, allowed: np.ndarray, rules: Rulebook | None,
        warnings: list[str],
    ) -> Plan:  # fmt: skip
        """Plan an instance.

        Args:
            instance: The instance.
            query: What its query is understood as.
            allowed: bool [items], items that its filters leave.
            rules: Rules that are in force.
            warnings: Receives what was ignored or not found.
        """
        relation = next((field for field in RELATIONS if getattr(instance, field)), "")
        seeds = self._seeds(instance, relation, warnings) if relation else ()
        if seeds:
            allowed = allowed.copy()
            allowed[list(seeds)] = False
        effects, permitted = Effects(allowed), None
        if rules is not None:
            now = instance.context.timestamp
            asked = Asked(query, instance.filters.categories, time.time() if now is None else now)
            limited = self._search.allowed(query, allowed) if query and query.intents.limits else None
            effects = rules.effects(asked, allowed, limited)
            if instance.facets:
                permitted = rules.effects(asked, np.ones_like(allowed)).allowed
        count = max(_RELATED, 2 * instance.k)
        related = self._found(relation, seeds, query, effects.allowed, count) if relation else None
        if relation == "bought_with" and seeds and related and not len(related.item):
            warnings.append("bought_with: no item that may be answered has enough buyers in common with it")
        return Plan(effects, relation, seeds, related, instance.diversity, permitted)

    def _seeds(self, instance: Instance, relation: str, warnings: list[str]) -> tuple[int, ...]:
        """Rows of the items that an instance gives; those that the catalog lacks are reported."""
        given = getattr(instance, relation)
        names = dict.fromkeys([given] if isinstance(given, str) else given)
        unknown = [name for name in names if name not in self._catalog.row_of]
        if unknown:
            some = ", ".join(f"'{name[:60]}'" for name in unknown[:3])
            warnings.append(f"{relation}: {counted(len(unknown), 'unknown item')} ignored: {some}")
        return tuple(self._catalog.row_of[name] for name in names if name in self._catalog.row_of)

    def _found(
        self, relation: str, seeds: tuple[int, ...], query: Understanding | None, allowed: np.ndarray, count: int
    ) -> Related | None:  # fmt: skip
        """Related items; None where the candidates are those of a query."""
        if query is not None:
            return None
        if not seeds:
            return Related(np.zeros(0, np.int64), np.zeros(0, np.float32))
        if relation == "bought_with":
            return self._related.bought_with(list(seeds), allowed, count)
        return self._related.similar(seeds[0], allowed, count)

    def ordered(self, ranking: Ranking, plan: Plan, count: int) -> Ranking:
        """The first `count` items in the order of the plan, without its pins."""
        if plan.for_everyone:
            ranking = _by_relation(ranking, plan.related)
        elif plan.seeds:
            ranking = self._by_likeness(ranking, plan.seeds[0])
        if plan.effects.factors or plan.effects.price_ratio:
            ranking = reordered(ranking, plan.effects, self._catalog.list_price)
        if plan.diversity and len(ranking.item):
            likeness = Likeness.of(ranking.item[:MAX_DIVERSIFIED], self._catalog, self._recommender.index)
            order = diversified(ranking.score, ranking.rank_class, likeness, plan.diversity, count)
            ranking = ranking.take(order)
        return ranking.take(np.arange(min(count, len(ranking.item))))

    def reasons(self, ranking: Ranking, plan: Plan) -> list[str]:
        """Why each item is an answer to what it is related to; '' for items that other sources gave."""
        if plan.related is None or not plan.seeds:
            return [""] * len(ranking.item)
        verb, nearest = "similar to", np.full(len(ranking.item), plan.seeds[0])
        if plan.relation == "bought_with":
            verb, seeds = "also bought by those who bought", np.array(plan.seeds)
            weight = np.ones(len(seeds), np.float32)
            nearest = self._recommender.neighbours.most_similar_own(seeds, weight, ranking.item)
        return [
            f"{verb} {self._title(row)}" if source & Source.RELATED and row else ""
            for row, source in zip(nearest.tolist(), ranking.source.tolist(), strict=True)
        ]

    def _title(self, row: int) -> str:
        title = " ".join((self._catalog.title[row].as_py() or self._catalog.item_id[row].as_py()).split())
        return title if len(title) <= _TITLE else f"{title[: _TITLE - 1]}…"

    def _by_likeness(self, ranking: Ranking, seed: int) -> Ranking:
        """Half by likeness with an item, half by the score, within each class."""
        if not len(ranking.item):
            return ranking
        like = self._related.likeness(seed, ranking.item)
        parts = [part / max(float(part.max()), 1e-9) for part in (like, ranking.score)]
        score = _LIKENESS_SHARE * parts[0] + (1 - _LIKENESS_SHARE) * parts[1]
        order = np.lexsort((-score, -ranking.rank_class))
        return replace(ranking.take(order), score=np.minimum.accumulate(score[order]).astype(np.float32))


def _by_relation(ranking: Ranking, related: Related | None) -> Ranking:
    """By the score of the relation alone."""
    if related is None or not len(ranking.item):
        return ranking
    place = {row: at for at, row in enumerate(related.item.tolist())}
    at = np.array([place[row] for row in ranking.item.tolist()])
    order = np.argsort(at)
    return replace(ranking.take(order), score=related.score[at[order]])
