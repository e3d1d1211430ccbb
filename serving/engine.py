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
from serving.answers import Answer, Item
from serving.clock import Clock, ClockOption, choose_clock, iso
from serving.cursors import read_cursor
from serving.explain import Case, Explainer, PairInputs
from serving.exploring import ExplorationConfig, reordered
from serving.facets import Facets
from serving.filters import FilterIndex
from serving.listing import Listing, Page, Wanted
from serving.metrics import EMPTY, ITEMS, REQUESTS, observe
from serving.protocol import Context, Instance, parse_instance
from serving.shoppers import Shoppers
from serving.suggesting import Suggester
from serving.understood import search_warnings, told

logger = logging.getLogger("kserve.shoprank")


@dataclass(frozen=True)
class _Prepared:
    """An instance before ranking.

    Attributes:
        histories: one row, the shopper's.
        wanted: the query, what may be answered, and where the page before ended.
        exploration_seed: request id that seeds exploration, '' when this answer does not explore.
        warnings: parts of the instance that were ignored.
    """

    wanted: Wanted
    histories: Histories
    exploration_seed: str
    warnings: list[str]


@dataclass(frozen=True)
class _Ranked:
    """An instance with its ranking.

    Attributes:
        case: input of the explainer. user: the ranker's inputs of the shopper, ids and weights [1, width].
        note: set when the shopper is unknown. warnings: see _Prepared. propensities, search, facets: see Answer.
        page: the page that is answered.
    """

    case: Case
    user: tuple[np.ndarray, np.ndarray]
    note: str
    warnings: list[str]
    propensities: tuple[float, ...]
    search: dict[str, Any]
    facets: dict[str, Any]
    page: Page


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
        filters = FilterIndex(catalog)
        self._listing, self._facets = Listing(recommender, filters), Facets(catalog, filters)
        assert recommender.search is not None
        self._suggester = Suggester(recommender.search.suggestions, catalog, self._shoppers)
        self._explainer = Explainer(
            catalog, recommender.statistics, recommender.neighbours, recommender.spec, recommender.search.index
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

    def check(self, instance: Instance, where: str = "") -> None:
        """Refuse what only the bundle can tell to be wrong.

        Args:
            instance: An instance.
            where: Prefix of field names, see protocol.parse_instance.

        Raises:
            RequestError: the catalog lacks what the sort needs, or the cursor is not of this request.
        """
        self._listing.check(instance, where)

    def answer(self, instances: Sequence[Instance], request_ids: Sequence[str], copy: bool = False) -> list[Answer]:
        """The ranked items with their reasons, for each instance.

        Args:
            instances: The instances of one request; they are ranked together.
            request_ids: One each.
            copy: Whether the request is a copy sent to a shadow, which never explores.
        """
        if any(instance.suggest is not None for instance in instances):
            # They are cheap, and seldom in one request with others.
            return [self._one(*one, copy) for one in zip(instances, request_ids, strict=True)]
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

    def _one(self, instance: Instance, request_id: str, copy: bool) -> Answer:
        if instance.suggest is None:
            return self.answer([instance], [request_id], copy)[0]
        REQUESTS.labels("suggest").inc()
        return self._suggester.answer(instance, self.version, request_id)

    def explain(self, instances: Sequence[Instance], request_ids: Sequence[str]) -> list[dict[str, Any]]:
        """The answers as JSON, with a detailed explanation of every item (see Explainer.account).

        Beside suggestions, which there is nothing to explain of, items are not explained either.
        """
        if any(instance.suggest is not None for instance in instances):
            return [answer.model_dump() for answer in self.answer(instances, request_ids, copy=True)]
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
        position = read_cursor(instance)
        if position is not None:
            instance = instance.model_copy(update={"context": Context(timestamp=position.as_of)})
        histories = self._shoppers.histories(instance, warnings)
        wanted = self._listing.wanted(instance, query, limits, position, warnings)
        # Only the first page of a recommendation explores: the pages after it show what that one left out.
        explores = self._exploration and not query and not position and instance.sort == "relevance"
        return _Prepared(wanted, histories, exploration_key if explores else "", warnings)

    def _rank_together(self, prepared: Sequence[_Prepared], times: StageTimes) -> list[_Ranked]:
        """Retrieve the candidates of each instance, or take those of its sorted page, and rank all in one call."""
        with times.stage("retrieval"):
            pages = [self._listing.sorted_page(one.wanted, int(one.histories.now[0])) for one in prepared]
        scored = [
            self._recommender.candidates(
                one.histories, [one.wanted.query], one.wanted.allowed, times, page and page.rows
            )
            for one, page in zip(prepared, pages, strict=True)
        ]  # fmt: skip
        rankings = self._recommender.ranked(scored, [len(self._buyers)] * len(prepared), times)
        return [self._chosen(*one, times) for one in zip(prepared, pages, rankings, scored, strict=True)]

    def _chosen(
        self, one: _Prepared, page: Page | None, ranking: Ranking, batch: RankerBatch, times: StageTimes
    ) -> _Ranked:
        """The page of the ranking after exploration, with note, warnings and facets."""
        wanted, propensities = one.wanted, ()
        if page is None:
            if self._exploration is not None and one.exploration_seed:
                k = wanted.instance.k
                ranking, propensities = reordered(self._exploration, one.exploration_seed, k, ranking, self._buyers)
            page = self._listing.ranked_page(wanted, ranking, batch.searches[0], int(one.histories.now[0]))
            propensities += (1.0,) * (len(page.rows) - len(propensities)) if propensities else ()
        ranking = self._listing.ranking_of(page, wanted, ranking, one.histories, times)
        warnings = list(one.warnings)
        result = page.result
        search = told(wanted.query or wanted.limits, batch.searches[0], bool(result.any()))
        facets = self._facets.count(
            wanted.instance.facets, wanted.instance.filters,
            lambda filters: self._listing.result_under(wanted, result, filters), warnings,
        )  # fmt: skip
        if wanted.allowed.any():
            warnings += search_warnings(search)
        else:
            warnings.append("filters: no item matches")
        case, user_id = Case(one.histories, ranking, wanted.query), wanted.instance.user_id
        note = ""
        if not case.known:
            known = user_id is not None and user_id in self._recommender.user_row
            who = "no events of this shopper are known" if known else "unknown shopper"
            note = f"{who if user_id is not None else 'no user_id'}: answered as for a new shopper"
        return _Ranked(case, batch.user, note, warnings, propensities, search, facets, page)

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
            propensities=ranked.propensities, total=int(ranked.page.result.sum()), cursor=ranked.page.cursor,
            facets=ranked.facets,
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
