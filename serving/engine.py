"""Answers the instances of a request: shopper history, allowed items, ranking, reasons.

Independent of HTTP and kserve; all methods are thread-safe.
"""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.shared.errors import BundleError
from components.shared.features.columns import ItemStatistic
from components.shared.features.history import Histories
from components.shared.recommender.batches import RankerBatch, Ranking
from components.shared.recommender.recommender import Recommender
from components.shared.recommender.stage_times import StageTimes
from components.shared.release.bundle import Manifest
from components.shared.release.golden import TOLERANCE, read_golden
from components.shared.search.understanding import Understanding
from serving.answers import Answer, Item
from serving.clock import Clock, ClockOption, choose_clock, iso
from serving.explain import Case, Explainer, PairInputs
from serving.exploring import ExplorationConfig, explore
from serving.filters import FilterIndex
from serving.metrics import EMPTY, ITEMS, REQUESTS, observe
from serving.protocol import Instance, parse_instance
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
        warnings: parts of the instance that were ignored.
    """

    instance: Instance
    query: Understanding | None
    limits: Understanding | None
    histories: Histories
    allowed: np.ndarray
    exploration_seed: str
    warnings: list[str]


@dataclass(frozen=True)
class _Ranked:
    """An instance with its ranking.

    Attributes:
        case: input of the explainer. user: the ranker's inputs of the shopper, ids and weights [1, width].
        note: set when the shopper is unknown. warnings: see _Prepared. propensities, search: see Answer.
    """

    case: Case
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
        exploration_seed = "" if self._exploration is None or query else exploration_key
        return _Prepared(instance, query, limits, histories, allowed, exploration_seed, warnings)

    def _rank_together(self, prepared: Sequence[_Prepared], times: StageTimes) -> list[_Ranked]:
        """Retrieve the candidates of each instance and rank them all in one call."""
        scored = [self._recommender.candidates(one.histories, [one.query], one.allowed, times) for one in prepared]
        rankings = self._recommender.ranked(scored, [self._ranking_size(one) for one in prepared], times)
        return [self._chosen(*one) for one in zip(prepared, rankings, scored, strict=True)]

    def _ranking_size(self, one: _Prepared) -> int:
        """Number of items to rank: those of the answer plus the exploration pool."""
        pool = self._exploration.pool if self._exploration and one.exploration_seed else 1
        return one.instance.k + pool - 1

    def _chosen(self, one: _Prepared, ranking: Ranking, batch: RankerBatch) -> _Ranked:
        """The ranking after exploration, with note and warnings."""
        propensities: tuple[float, ...] = ()
        if self._exploration is not None and one.exploration_seed:
            buyers = self._buyers[ranking.item]
            shown = explore(self._exploration, one.exploration_seed, one.instance.k, ranking.score, buyers)
            ranking, propensities = ranking.take(shown.positions), shown.propensities
        warnings = list(one.warnings)
        search = told(one.query or one.limits, batch.searches[0], bool(len(ranking.item)))
        if one.allowed.any():
            warnings += search_warnings(search)
        else:
            warnings.append("filters: no item matches")
        case, user_id = Case(one.histories, ranking, one.query), one.instance.user_id
        note = ""
        if not case.known:
            known = user_id is not None and user_id in self._recommender.user_row
            who = "no events of this shopper are known" if known else "unknown shopper"
            note = f"{who if user_id is not None else 'no user_id'}: answered as for a new shopper"
        return _Ranked(case, batch.user, note, warnings, propensities, search)

    def _answer(self, ranked: _Ranked, request_id: str) -> Answer:
        catalog, ranking = self._recommender.catalog, ranked.case.ranking
        items = []
        reasons = self._explainer.reasons(ranked.case)
        for item, score, why in zip(ranking.item.tolist(), ranking.score.tolist(), reasons, strict=True):
            price = float(catalog.list_price[item])
            items.append(Item(
                item_id=catalog.item_id[item].as_py(), title=catalog.title[item].as_py() or "",
                price=None if math.isnan(price) else round(price, 4), score=score, reasons=why,
            ))  # fmt: skip
        return Answer(
            items=items, model_version=self.version, request_id=request_id, note=ranked.note,
            as_of=iso(int(ranked.case.histories.now[0])), warnings=ranked.warnings, search=ranked.search,
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
