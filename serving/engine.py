"""Answers the instances of a request: shopper history, allowed items, ranking, reasons.

Independent of HTTP and kserve; all methods are thread-safe.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.shared.errors import BundleError
from components.shared.features.columns import ItemStatistic
from components.shared.features.history import Histories
from components.shared.recommender.batches import RankerBatch, Ranking
from components.shared.recommender.candidates import Candidates
from components.shared.recommender.recommender import Recommender
from components.shared.recommender.rules.reordering import with_pins
from components.shared.recommender.rules.rulebook import Rulebook
from components.shared.recommender.stage_times import StageTimes
from components.shared.release.bundle import Manifest
from components.shared.release.golden import TOLERANCE, read_golden
from components.shared.search.understanding import Understanding
from serving.answers import Answer, Item
from serving.clock import Clock, ClockOption, choose_clock, iso
from serving.explain import MAX_REASONS, Case, Explainer, PairInputs
from serving.exploring import ExplorationConfig, explore
from serving.filters import FilterIndex
from serving.metrics import EMPTY, ITEMS, REQUESTS, RULES_ACTED, observe
from serving.protocol import Instance, parse_instance
from serving.reranking import Plan, Reranker
from serving.rules import RulesFile, rules_for
from serving.shoppers import Shoppers
from serving.understood import search_warnings, told

logger = logging.getLogger("kserve.shoprank")


@dataclass(frozen=True)
class _Prepared:
    """An instance before ranking.

    Attributes:
        instance: the parsed instance. histories: one row, the shopper's.
        query: what its search text is understood as; None for a recommendation.
        limits: what a text without words, such as 'under 20', is understood as; None otherwise.
        allowed: bool [items], items that may be answered.
        exploration_seed: request id that seeds exploration, '' when this answer does not explore.
        plan: what happens to it beside the models. warnings: parts of the instance that were ignored.
    """

    instance: Instance
    query: Understanding | None
    limits: Understanding | None
    histories: Histories
    allowed: np.ndarray
    exploration_seed: str
    plan: Plan
    warnings: list[str]


@dataclass(frozen=True)
class _Ranked:
    """An instance with its ranking.

    Attributes:
        case: input of the explainer. user: the ranker's inputs of the shopper, ids and weights [1, width].
        note: set when the shopper is unknown. plan, warnings: see _Prepared. propensities, search: see Answer.
    """

    case: Case
    plan: Plan
    user: tuple[np.ndarray, np.ndarray]
    note: str
    warnings: list[str]
    propensities: tuple[float, ...]
    search: dict[str, Any]


class Engine:
    """One opened bundle.

    Args:
        recommender: Models, catalog and histories.
        version: Model version in every answer.
        clock: See Shoppers.
        exploration: How some recommendations explore, or None; searches never do.

    Attributes:
        rules: Gives the rules that are in force; None for none, as for golden requests.
    """

    def __init__(
        self, recommender: Recommender, version: str, clock: Clock, exploration: ExplorationConfig | None = None
    ):
        self.version, self._recommender, self._exploration = version, recommender, exploration
        self._buyers = recommender.statistics[:, ItemStatistic.BUYERS]
        catalog = recommender.catalog
        self._shoppers = Shoppers(recommender.spec, catalog, recommender.store, recommender.user_row, clock)
        self._filters = FilterIndex(catalog)
        assert recommender.search is not None
        self._search = recommender.search
        self._reranker = Reranker(recommender, self._search)
        self.rules: Callable[[], Rulebook | None] = lambda: None
        self._explainer = Explainer(
            catalog, recommender.statistics, recommender.neighbours, recommender.spec, self._search.index
        )

    @classmethod
    def open(
        cls, folder: Path, manifest: Manifest, threads: int, clock: ClockOption,
        exploration: ExplorationConfig | None = None,
    ) -> "Engine":  # fmt: skip
        """Open a verified bundle and check its golden instances.

        Raises:
            BundleError: the answer to a golden request differs from the one in the bundle.
        """
        recommender = Recommender.open(folder, threads)
        chosen = choose_clock(clock, recommender.spec.as_of, time.time())
        logger.info("clock: %s, because %s", chosen.clock, chosen.reason)
        engine = cls(recommender, manifest.version, chosen.clock, exploration)
        engine.check_golden(folder)
        return engine

    def follow_rules(self, path: Path, folder: Path) -> RulesFile:
        """Put the rules of a file in force, and every later version of it.

        Args:
            path: The file.
            folder: Folder of the bundle.

        Raises:
            InputError: there is no such file.
        """
        file = RulesFile(path, rules_for(folder, self._recommender.catalog, self._search.index.analyzer))
        self.rules = file.current
        return file

    def check_golden(self, folder: Path) -> None:
        """Check that the bundle reproduces the golden answers it was built with."""
        # Golden answers are as of the end of the bundle's data, whatever clock is used for serving.
        made_at = {"timestamp": self._recommender.spec.as_of}
        for position, golden in enumerate(read_golden(folder), 1):
            request = {**golden.request, "context": {**made_at, **golden.request.get("context", {})}}
            (ranked,) = self._rank([parse_instance(request)], [""], StageTimes())
            items = self._answer(ranked, "golden").items
            found = golden.difference([item.item_id for item in items], [item.score for item in items], TOLERANCE)
            if found:
                raise BundleError(
                    f"the answer to golden request {position} of {folder} has changed: {found}",
                    "compile the model again with this shoprank version, or serve with the version that built it",
                )

    def answer(self, instances: Sequence[Instance], request_ids: Sequence[str], copy: bool = False) -> list[Answer]:
        """The ranked items with their reasons, for each instance.

        Args:
            instances: The instances of one request; they are ranked together.
            request_ids: One each.
            copy: Whether the request is a copy sent to a shadow, which never explores.
        """
        times = StageTimes()
        found = self._rank(instances, [""] * len(instances) if copy else request_ids, times)
        with times.stage("explain"):
            answers = [self._answer(ranked, name) for ranked, name in zip(found, request_ids, strict=True)]
        observe(times)
        for ranked, answer in zip(found, answers, strict=True):
            REQUESTS.labels(_kind(ranked.case)).inc()
            ITEMS.observe(len(answer.items))
            if not answer.items:
                EMPTY.inc()
            for rule in answer.rules:
                RULES_ACTED.labels(rule).inc()
        return answers

    def explain(self, instances: Sequence[Instance], request_ids: Sequence[str]) -> list[dict[str, Any]]:
        """The answers as JSON, with a detailed explanation of every item (see Explainer.account)."""
        times = StageTimes()
        found = self._rank(instances, request_ids, times)
        with times.stage("explain"):
            answers = [self._explained(ranked, name) for ranked, name in zip(found, request_ids, strict=True)]
        observe(times)
        return answers

    def _rank(self, instances: Sequence[Instance], exploration_keys: Sequence[str], times: StageTimes) -> list[_Ranked]:
        with times.stage("features"):
            prepared = [self._prepare(instance, key) for instance, key in zip(instances, exploration_keys, strict=True)]
        if self._recommender.models.rows_independent:
            return self._rank_together(prepared, times)
        return [ranked for one in prepared for ranked in self._rank_together([one], times)]

    def _prepare(self, instance: Instance, exploration_key: str) -> _Prepared:
        warnings: list[str] = []
        query = self._recommender.understood(instance.query or "", instance.verbatim)
        limits = None
        if query is not None and not query.words:
            query, limits = None, query
            if not limits.intents.limits and limits.query.strip():
                warnings.append("query: contains no word and was ignored")
        histories = self._shoppers.histories(instance, warnings)
        allowed = self._filters.mask(instance.filters, instance.exclude, warnings)
        allowed = allowed if limits is None else self._search.allowed(limits, allowed)
        plan = self._reranker.plan(instance, query, allowed, self.rules(), warnings)
        # A score of likeness is no probability, and a pinned item may have the last position.
        settled = query or plan.relation or plan.effects.pins
        exploration_seed = "" if self._exploration is None or settled else exploration_key
        return _Prepared(instance, query, limits, histories, plan.effects.allowed, exploration_seed, plan, warnings)

    def _rank_together(self, prepared: Sequence[_Prepared], times: StageTimes) -> list[_Ranked]:
        """Retrieve the candidates of each instance and rank them all in one call."""
        batches = [self._candidates(one, one.plan.chosen, times) for one in prepared]
        pins = {at: self._candidates(one, one.plan.pins, times) for at, one in enumerate(prepared) if one.plan.pins}
        sizes = [len(self._recommender.catalog) if one.plan.reorders else self._ranking_size(one) for one in prepared]
        sizes += [len(batch.found.item) for batch in pins.values()]
        rankings = self._recommender.ranked([*batches, *pins.values()], sizes, times)
        pinned = dict(zip(pins, rankings[len(prepared) :], strict=True))
        return [self._chosen(one, rankings[at], batches[at], pinned.get(at)) for at, one in enumerate(prepared)]

    def _candidates(self, one: _Prepared, chosen: Candidates | None, times: StageTimes) -> RankerBatch:
        return self._recommender.candidates(one.histories, [one.query], one.allowed, times, chosen)

    def _ranking_size(self, one: _Prepared) -> int:
        """Number of items to rank: those of the answer plus the exploration pool."""
        pool = self._exploration.pool if self._exploration and one.exploration_seed else 1
        return one.instance.k + pool - 1

    def _chosen(self, one: _Prepared, ranking: Ranking, batch: RankerBatch, pinned: Ranking | None) -> _Ranked:
        """The ranking after its plan and exploration, with note and warnings."""
        propensities: tuple[float, ...] = ()
        if one.plan.reorders:
            ranking = self._reranker.ordered(ranking, one.plan, self._ranking_size(one))
        if self._exploration is not None and one.exploration_seed:
            buyers = self._buyers[ranking.item]
            shown = explore(self._exploration, one.exploration_seed, one.instance.k, ranking.score, buyers)
            ranking, propensities = ranking.take(shown.positions), shown.propensities
        warnings = list(one.warnings)
        search = told(one.query or one.limits, batch.searches[0], bool(len(ranking.item)))
        if pinned is not None:
            ranking = with_pins(ranking, pinned, one.plan.effects, one.instance.k)
        if one.allowed.any():
            warnings += search_warnings(search)
        else:
            warnings.append("filters: no item matches")
        case, user_id = Case(one.histories, ranking, one.query), one.instance.user_id
        note = ""
        if not case.known and not one.plan.for_everyone:
            known = user_id is not None and user_id in self._recommender.user_row
            who = "no events of this shopper are known" if known else "unknown shopper"
            note = f"{who if user_id is not None else 'no user_id'}: answered as for a new shopper"
        return _Ranked(case, one.plan, batch.user, note, warnings, propensities, search)

    def _answer(self, ranked: _Ranked, request_id: str) -> Answer:
        catalog, ranking = self._recommender.catalog, ranked.case.ranking
        items = []
        reasons = self._explainer.reasons(ranked.case)
        related = self._reranker.reasons(ranking, ranked.plan)
        for item, score, why, first in zip(
            ranking.item.tolist(), ranking.score.tolist(), reasons, related, strict=True
        ):
            price = float(catalog.list_price[item])
            items.append(Item(
                item_id=catalog.item_id[item].as_py(), title=catalog.title[item].as_py() or "",
                price=None if math.isnan(price) else round(price, 4), score=score,
                reasons=[first, *why][:MAX_REASONS] if first else why,
            ))  # fmt: skip
        return Answer(
            items=items, model_version=self.version, request_id=request_id, note=ranked.note,
            as_of=iso(int(ranked.case.histories.now[0])), warnings=ranked.warnings, search=ranked.search,
            rules=tuple(ranked.plan.effects.acted), redirect=ranked.plan.effects.redirect,
            propensities=ranked.propensities,
        )  # fmt: skip

    def _explained(self, ranked: _Ranked, request_id: str) -> dict[str, Any]:
        answer = self._answer(ranked, request_id).model_dump()
        inputs = PairInputs(ranked.user, self._recommender.item_inputs(ranked.case.ranking.item))
        accounts = self._explainer.account(ranked.case, self._recommender.models, inputs)
        for item, account in zip(answer["items"], accounts, strict=True):
            item.update(account)
        return answer


def _kind(case: Case) -> str:
    if case.query:
        return "search"
    return "recommend" if case.known else "cold"
