"""Ranks the instances of a request: what each asks for, its candidates, and the page of them that is answered."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from components.shared.features.columns import ItemStatistic
from components.shared.features.history import Histories
from components.shared.recommender.batches import RankerBatch, Ranking
from components.shared.recommender.candidates import Candidates, Source, chosen_items
from components.shared.recommender.recommender import Recommender
from components.shared.recommender.rules.reordering import with_pins
from components.shared.recommender.rules.rulebook import Rulebook
from components.shared.recommender.stage_times import StageTimes
from serving.candidate_cache import CandidateCache, Key, same_items
from serving.cursors import read_cursor
from serving.explain import Case
from serving.exploring import ExplorationConfig, reordered
from serving.facets import Facets
from serving.filters import FilterIndex
from serving.listing import Listing, Page, Wanted
from serving.protocol import Context, Instance
from serving.reranking import Plan, Reranker
from serving.shoppers import Shoppers
from serving.state.store import NO_STATE, State
from serving.understood import search_warnings, told


@dataclass(frozen=True)
class Prepared:
    """An instance before ranking.

    Attributes:
        wanted: the query, what may be answered, and where the page before ended.
        histories: one row, the shopper's.
        exploration_seed: request id that seeds exploration, '' when this answer does not explore.
        plan: what happens to it beside the models. warnings: parts of the instance that were ignored.
    """

    wanted: Wanted
    histories: Histories
    exploration_seed: str
    plan: Plan
    warnings: list[str]


@dataclass(frozen=True)
class Ranked:
    """An instance with its ranking.

    Attributes:
        case: input of the explainer. user: the ranker's inputs of the shopper, ids and weights [1, width].
        page: the page that is answered. plan, warnings: see Prepared.
        note: set when the shopper is unknown. propensities, search, facets: see Answer.
    """

    case: Case
    user: tuple[np.ndarray, np.ndarray]
    page: Page
    plan: Plan
    warnings: list[str]
    note: str
    propensities: tuple[float, ...]
    search: dict[str, Any]
    facets: dict[str, Any]


@dataclass(frozen=True)
class CandidateRows:
    """Candidates of some instances.

    Attributes:
        at: Positions of the instances, one for each row of the batch.
        batch: The candidates.
    """

    at: tuple[int, ...]
    batch: RankerBatch


class InstanceRanker:
    """Ranks instances with one opened bundle.

    Args:
        recommender: Models, catalog and histories.
        shoppers: Histories of shoppers.
        exploration: See Engine.
        cache: Candidates of the latest shoppers.

    Attributes:
        listing: Lists results page by page.
        reranker: Plans what happens beside the models.
        rules: Returns the rules in force.
    """

    def __init__(
        self, recommender: Recommender, shoppers: Shoppers, exploration: ExplorationConfig | None, cache: CandidateCache
    ):
        assert recommender.search is not None
        self._recommender, self._shoppers, self._exploration = recommender, shoppers, exploration
        self._cache = cache
        self._buyers = recommender.statistics[:, ItemStatistic.BUYERS]
        filters = FilterIndex(recommender.catalog)
        self.listing, self._facets = Listing(recommender, filters), Facets(recommender.catalog, filters)
        self.reranker = Reranker(recommender, recommender.search)
        self.rules: Callable[[], Rulebook | None] = lambda: None

    def rank(
        self, instances: Sequence[Instance], exploration_keys: Sequence[str], times: StageTimes,
        state: State = NO_STATE,
    ) -> list[Ranked]:  # fmt: skip
        """Rank instances, all in one call of the models if these treat rows alike.

        Args:
            instances: The instances.
            exploration_keys: Seeds exploration, '' for none; one each.
            times: Receives the seconds of the stages.
            state: Online events of their shoppers.
        """
        with times.stage("features"):
            prepared = [
                self._prepare(instance, key, state) for instance, key in zip(instances, exploration_keys, strict=True)
            ]
        if self._recommender.models.rows_independent:
            return self._together(prepared, times)
        return [ranked for one in prepared for ranked in self._together([one], times)]

    def _prepare(self, instance: Instance, exploration_key: str, state: State) -> Prepared:
        warnings: list[str] = []
        query = self._recommender.understood(instance.query or "", instance.verbatim)
        limits = None
        if query is not None and not query.words:
            query, limits = None, query
            if not limits.intents.limits and limits.query.strip():
                warnings.append("query: contains no word and was ignored")
        position = read_cursor(instance)
        if position is not None:
            instance = instance.model_copy(update={"context": Context(timestamp=position.as_of)})
        histories = self._shoppers.histories(instance, warnings, state.of(instance.user_id))
        wanted = self.listing.wanted(instance, query, limits, position, warnings)
        plan = self.reranker.plan(instance, query, wanted.allowed, self.rules(), warnings)
        closed = plan.related is not None
        wanted = replace(wanted, allowed=plan.effects.allowed, permitted=plan.permitted, closed=closed)
        # Only the first page explores: the pages after it show what that one left out. A score of likeness is no
        # probability, and a pinned item may have the last position.
        settled = query or position or instance.sort != "relevance" or plan.relation or plan.effects.pins
        seed = "" if self._exploration is None or settled else exploration_key
        return Prepared(wanted, histories, seed, plan, warnings)

    def _together(self, prepared: Sequence[Prepared], times: StageTimes) -> list[Ranked]:
        """Retrieve the candidates of each instance, or take those of its sorted page, and rank all in one call."""
        with times.stage("retrieval"):
            pages = [self.listing.sorted_page(one.wanted, int(one.histories.now[0])) for one in prepared]
        parts = self._candidates(prepared, pages, times)
        pins = [
            CandidateRows((at,), self._found(one.histories, [one], one.plan.pins, times))
            for at, one in enumerate(prepared)
            if one.plan.pins and one.wanted.instance.sort == "relevance"
        ]
        rows = [len(part.at) for part in [*parts, *pins]]
        sizes = [len(self._buyers)] * sum(rows)
        rankings = self._recommender.ranked([part.batch for part in [*parts, *pins]], sizes, times)
        own = {at: (part.batch, row) for part in parts for row, at in enumerate(part.at)}
        order = [at for part in parts for at in part.at]
        ranked = dict(zip(order, rankings, strict=False))
        pinned = {part.at[0]: ranking for part, ranking in zip(pins, rankings[len(order) :], strict=True)}
        return [
            self._chosen(
                one, pages[at], self._reordered(one, pages[at], ranked[at]), own[at], pinned.get(at), times
            )
            for at, one in enumerate(prepared)
        ]  # fmt: skip

    def _candidates(
        self, prepared: Sequence[Prepared], pages: Sequence[Page | None], times: StageTimes
    ) -> list["CandidateRows"]:  # fmt: skip
        """Candidates of all instances; those that may have the same items are looked for together."""
        parts: list[CandidateRows] = []
        together: list[list[int]] = []
        keys = [self._key(one, page) for one, page in zip(prepared, pages, strict=True)]
        for at, (one, page) in enumerate(zip(prepared, pages, strict=True)):
            chosen = one.plan.chosen if page is None else chosen_items(page.rows, Source(0))
            key, allowed = keys[at], one.wanted.allowed
            if chosen is not None:
                parts.append(CandidateRows((at,), self._found(one.histories, [one], chosen, times)))
            elif key is not None and (known := self._cache.get(key, allowed)) is not None:
                parts.append(CandidateRows((at,), known))
            else:
                same = (group for group in together if same_items(prepared[group[0]].wanted.allowed, allowed))
                group = next(same, None)
                if group is None:
                    together.append([at])
                else:
                    group.append(at)
        for group in together:
            some = [prepared[at] for at in group]
            batch = self._found(Histories.joined([one.histories for one in some]), some, None, times)
            parts.append(CandidateRows(tuple(group), batch))
            for row, at in enumerate(group):
                if (key := keys[at]) is not None:
                    self._cache.put(key, prepared[at].wanted.allowed, batch.row(row))
        return parts

    def _key(self, one: Prepared, page: Page | None) -> Key | None:
        """Of candidates that may be remembered: those of the first page of a recommendation."""
        if page is not None or one.wanted.query is not None or one.plan.relation:
            return None
        return self._cache.key(one.histories)

    def _found(
        self, histories: Histories, some: Sequence[Prepared], chosen: Candidates | None, times: StageTimes
    ) -> RankerBatch:  # fmt: skip
        queries = [one.wanted.query for one in some]
        allowed = some[0].wanted.allowed
        return self._recommender.candidates(histories, queries, allowed, times, chosen, alone=True)

    def _reordered(self, one: Prepared, page: Page | None, ranking: Ranking) -> Ranking:
        """The ranking in the order of the plan; a sorted page keeps its own."""
        if page is not None or not one.plan.reorders:
            return ranking
        return self.reranker.ordered(ranking, one.plan, len(ranking.item))

    def _chosen(
        self, one: Prepared, page: Page | None, ranking: Ranking, own: tuple[RankerBatch, int], pinned: Ranking | None,
        times: StageTimes,
    ) -> Ranked:  # fmt: skip
        """The page of the ranking after exploration and pins, with note, warnings and facets.

        `own`: The candidates, and the row of them that is the instance's.
        """
        batch, row = own
        found = batch.searches[row]
        wanted, propensities, now = one.wanted, (), int(one.histories.now[0])
        answered = bool(len(ranking.item)) or (page is not None and bool(page.result.any()))
        if page is None:
            if self._exploration is not None and one.exploration_seed:
                k = wanted.instance.k
                ranking, propensities = reordered(self._exploration, one.exploration_seed, k, ranking, self._buyers)
            if pinned is not None:
                most = max(len(ranking.item) + len(pinned.item), wanted.instance.k)
                ranking = with_pins(ranking, pinned, one.plan.effects, most)
            page = self.listing.ranked_page(wanted, ranking, found, now)
            propensities += (1.0,) * (len(page.rows) - len(propensities)) if propensities else ()
        ranking = self.listing.ranking_of(page, wanted, ranking, one.histories, times)
        warnings, result = list(one.warnings), page.result
        search = told(wanted.query or wanted.limits, found, answered)
        facets = self._facets.count(
            wanted.instance.facets, wanted.instance.filters,
            lambda filters: self.listing.result_under(wanted, result, filters), warnings,
        )  # fmt: skip
        warnings += search_warnings(search) if wanted.allowed.any() else ["filters: no item matches"]
        case = Case(one.histories, ranking, wanted.query)
        note = "" if case.known or one.plan.for_everyone else self._note(wanted.instance.user_id)
        return Ranked(case, batch.user_of(row), page, one.plan, warnings, note, propensities, search, facets)

    def _note(self, user_id: str | None) -> str:
        known = user_id is not None and user_id in self._recommender.user_row
        who = "no events of this shopper are known" if known else "unknown shopper"
        return f"{who if user_id is not None else 'no user_id'}: answered as for a new shopper"
