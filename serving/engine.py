"""Answers one question: who asks -> what may be answered -> candidates and ranking -> items with reasons.

Knows neither HTTP nor kserve; every method may be called from several threads at once.
"""

import dataclasses
import math
import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.shared.errors import BundleError
from components.shared.features.columns import DenseInput, ItemStatistic
from components.shared.features.history import Histories
from components.shared.recommender.candidates import Source
from components.shared.recommender.recommender import Ranking, Recommender, side_by_side
from components.shared.release.bundle import Manifest
from components.shared.release.golden import TOLERANCE, read_golden
from components.shared.text.tokenizer import tokenize
from serving.explain import Case, Explainer, PairInputs
from serving.exploring import ExplorationConfig, explore
from serving.filters import FilterIndex
from serving.metrics import EMPTY, ITEMS, REQUESTS, Stopwatch
from serving.protocol import Answer, Ask, Item, parse_ask
from serving.shoppers import Clock, Shoppers

_watches = threading.local()


def _stage(name: str) -> AbstractContextManager[None]:
    """A stage of the request that this thread answers."""
    watch: Stopwatch = _watches.current
    return watch.stage(name)


@dataclass(frozen=True)
class _Ranked:
    """A question with its ranking and what was learnt on the way."""

    case: Case
    note: str
    warnings: list[str]
    propensities: tuple[float, ...] = ()


class Engine:
    """One opened bundle.

    Args:
        recommender: Models, catalog and histories.
        version: Told in every answer.
        clock: See Shoppers.
        exploration: Whether some recommendations explore; searches never do.
    """

    def __init__(
        self, recommender: Recommender, version: str, clock: Clock, exploration: ExplorationConfig | None = None
    ):
        self.version, self._exploration = version, exploration
        self._buyers = recommender.statistics[:, ItemStatistic.BUYERS]
        self._recommender = dataclasses.replace(recommender, timed=_stage)
        catalog = recommender.catalog
        self._shoppers = Shoppers(recommender.spec, catalog, recommender.store, recommender.user_row, clock)
        self._filters = FilterIndex(catalog)
        self._explainer = Explainer(catalog, recommender.statistics, recommender.neighbours, recommender.spec)

    @classmethod
    def open(
        cls, folder: Path, manifest: Manifest, threads: int, clock: Clock, exploration: ExplorationConfig | None = None
    ) -> "Engine":
        """Open a verified bundle and ask its golden requests.

        Raises:
            BundleError: a golden request is answered otherwise than when the bundle was made.
        """
        recommender = Recommender.open(folder, threads)
        # Golden answers were made at the bundle's moment, whatever clock serves afterwards.
        engine = cls(recommender, manifest.version, "bundle")
        engine.check_golden(folder)
        engine._shoppers = dataclasses.replace(engine._shoppers, clock=clock)
        engine._exploration = exploration
        return engine

    def check_golden(self, folder: Path) -> None:
        """Refuse a bundle that does not answer as it did when it was made."""
        for place, golden in enumerate(read_golden(folder), 1):
            _, answer, _ = self._ask(parse_ask(golden.request), "golden")
            items = answer.items
            found = golden.difference([item.item_id for item in items], [item.score for item in items], TOLERANCE)
            if found:
                raise BundleError(
                    f"golden request {place} of {folder} is answered otherwise: {found}",
                    "compile the model again with the release that serves it, or run the release that made it",
                )

    def answer(self, ask: Ask, request_id: str, copy: bool = False) -> Answer:
        """The ranked items with their reasons; a shadow's copy of a request is never explored with."""
        ranked, answer, watch = self._ask(ask, request_id, copy)
        watch.observe()
        REQUESTS.labels(_kind(ranked.case)).inc()
        ITEMS.observe(len(answer.items))
        if not answer.items:
            EMPTY.inc()
        return answer

    def _ask(self, ask: Ask, request_id: str, copy: bool = False) -> tuple[_Ranked, Answer, Stopwatch]:
        watch = _watches.current = Stopwatch()
        ranked = self._rank(ask, "" if copy else request_id, watch)
        with watch.stage("explain"):
            return ranked, self._answer(ranked, request_id), watch

    def explain(self, ask: Ask, request_id: str) -> dict[str, Any]:
        """The answer with the detailed account of every item (see Explainer.account), as JSON."""
        ranked, plain, watch = self._ask(ask, request_id)
        answer = plain.model_dump()
        with watch.stage("explain", less=("features", "retrieval", "ranking")):
            inputs = self._inputs(ranked.case)
            accounts = self._explainer.account(ranked.case, self._recommender.models, inputs)
            for item, account in zip(answer["items"], accounts, strict=True):
                item.update(account)
        watch.observe()
        return answer

    def _rank(self, ask: Ask, explored_by: str, watch: Stopwatch) -> _Ranked:
        warnings: list[str] = []
        query = ask.query if ask.query is not None and tokenize(ask.query) else ""
        if ask.query and ask.query.strip() and not query:
            warnings.append("query: it holds no word, so it was not used")
        with watch.stage("features"):
            histories = self._shoppers.histories(ask, warnings)
            allowed = self._filters.mask(ask.filters, ask.exclude, warnings)
        ranking, propensities = self._chosen(histories, ask.k, query, allowed, explored_by)
        if not allowed.any():
            warnings.append("filters: no item passes them")
        elif query and not (ranking.source & Source.LEXICAL).any():
            warnings.append("query: no word of it matches an item that passes the filters; answered by meaning")
        case = Case(histories, ranking, query)
        note = ""
        if not case.known:
            known = ask.user_id is not None and ask.user_id in self._recommender.user_row
            who = "no events of this shopper are known" if known else "unknown shopper"
            note = f"{who if ask.user_id is not None else 'no shopper named'}: answered for newcomers"
        return _Ranked(case, note, warnings, propensities)

    def _chosen(
        self, histories: Histories, k: int, query: str, allowed: np.ndarray, explored_by: str
    ) -> tuple[Ranking, tuple[float, ...]]:
        """The ranking, with the item that exploration put at its end, and the propensities of its places.

        `explored_by` is the request id that the draw follows from, '' for none.
        """
        if self._exploration is None or query or not explored_by:
            return self._ranking(histories, k, query, allowed), ()
        longer = self._ranking(histories, k + self._exploration.pool - 1, query, allowed)
        chosen = explore(self._exploration, explored_by, k, longer.score, self._buyers[longer.item])
        return longer.take(chosen.places), chosen.propensities

    def _ranking(self, histories: Histories, k: int, query: str, allowed: np.ndarray) -> Ranking:
        if not allowed.any():
            empty = np.zeros(0, np.int64)
            return Ranking(empty, np.zeros(0, np.float32), empty, np.zeros(0, np.float32),
                           np.zeros((0, len(self._recommender.models.tasks)), np.float32),
                           np.zeros((0, len(DenseInput)), np.float32))  # fmt: skip
        return self._recommender.rank(histories, k, [query] if query else None, allowed)[0]

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
        return Answer(items=items, model_version=self.version, request_id=request_id, note=ranked.note,
                      warnings=ranked.warnings, propensities=ranked.propensities)  # fmt: skip

    def _inputs(self, case: Case) -> PairInputs:
        recommender = self._recommender
        user = recommender.candidates(case.histories, [case.query] if case.query else None).user
        item = {name: rows.take(case.ranking.item) for name, rows in recommender.catalog.features.items()}
        widths = [(feature.name, feature.max_length) for feature in recommender.spec.item_features]
        return PairInputs(user, side_by_side(item, widths))


def _kind(case: Case) -> str:
    if case.query:
        return "search"
    return "recommend" if case.known else "cold"
