"""Answers the instances of a request: shopper history, allowed items, ranking, reasons.

Independent of HTTP and kserve; all methods are thread-safe.
"""

import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.shared.errors import BundleError
from components.shared.recommender.recommender import Recommender
from components.shared.recommender.stage_times import StageTimes
from components.shared.release.bundle import Manifest
from components.shared.release.golden import TOLERANCE, read_golden
from serving.answers import Answer, Item
from serving.candidate_cache import CandidateCache
from serving.clock import Clock, ClockOption, choose_clock, iso
from serving.explain import MAX_REASONS, Case, Explainer, PairInputs
from serving.exploring import ExplorationConfig
from serving.metrics import EMPTY, ITEMS, REQUESTS, RULES_ACTED, STATE_READS, observe
from serving.protocol import Instance, parse_instance
from serving.ranking import InstanceRanker, Ranked
from serving.rules import RulesFile, rules_for
from serving.shoppers import Shoppers
from serving.state.store import NO_STATE, State, StateStore
from serving.suggesting import Suggester

CACHE_BYTES = 64_000_000
"""Default size of the remembered candidates: those of some 500 shoppers of a large catalog."""

logger = logging.getLogger("kserve.shoprank")


class Engine:
    """One opened bundle.

    Args:
        recommender: Models, catalog and histories.
        version: Model version in every answer.
        clock: See Shoppers.
        exploration: How some recommendations explore, or None; searches never do.
        cache_bytes: See CandidateCache.
        state: Online events of shoppers, or None.
    """

    def __init__(
        self, recommender: Recommender, version: str, clock: Clock, exploration: ExplorationConfig | None = None,
        cache_bytes: int = CACHE_BYTES, state: StateStore | None = None,
    ):  # fmt: skip
        self.version, self._recommender, self._state = version, recommender, state
        catalog = recommender.catalog
        self._shoppers = shoppers = Shoppers(recommender.spec, catalog, recommender.store, recommender.user_row, clock)
        self._ranker = InstanceRanker(recommender, shoppers, exploration, CandidateCache(cache_bytes))
        assert recommender.search is not None
        self._suggester = Suggester(recommender.search.suggestions, catalog, shoppers)
        self._index = recommender.search.index
        self._explainer = Explainer(
            catalog, recommender.statistics, recommender.neighbours, recommender.spec, self._index
        )

    @classmethod
    def open(
        cls, folder: Path, manifest: Manifest, threads: int, clock: ClockOption,
        exploration: ExplorationConfig | None = None, cache_bytes: int = CACHE_BYTES,
        state: StateStore | None = None,
    ) -> "Engine":  # fmt: skip
        """Open a verified bundle and check its golden instances.

        Raises:
            BundleError: the answer to a golden request differs from the one in the bundle.
        """
        recommender = Recommender.open(folder, threads)
        chosen = choose_clock(clock, recommender.spec.as_of, time.time())
        logger.info("clock: %s, because %s", chosen.clock, chosen.reason)
        engine = cls(recommender, manifest.version, chosen.clock, exploration, cache_bytes, state)
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
        file = RulesFile(path, rules_for(folder, self._recommender.catalog, self._index.analyzer))
        self._ranker.rules = file.current
        return file

    def check_golden(self, folder: Path) -> None:
        """Check that the bundle reproduces the golden answers it was built with."""
        # Golden answers are as of the end of the bundle's data, whatever clock is used for serving.
        made_at = {"timestamp": self._recommender.spec.as_of}
        for position, golden in enumerate(read_golden(folder), 1):
            request = {**golden.request, "context": {**made_at, **golden.request.get("context", {})}}
            (ranked,) = self._ranker.rank([parse_instance(request)], [""], StageTimes())
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
        self._ranker.listing.check(instance, where)

    def answer(
        self, instances: Sequence[Instance], request_ids: Sequence[str], copies: Sequence[bool] = ()
    ) -> list[Answer]:
        """The ranked items with their reasons, for each instance.

        Args:
            instances: The instances of one or more requests; they are ranked together.
            request_ids: One each.
            copies: Whether each is of a copy sent to a shadow, which never explores; () for none.
        """
        copies, state = copies or [False] * len(instances), self._read(instances)
        suggested = [at for at, instance in enumerate(instances) if instance.suggest is not None]
        ranked = [at for at, instance in enumerate(instances) if instance.suggest is None]
        answers = {at: self._suggested(instances[at], request_ids[at], state) for at in suggested}
        if ranked:
            keys = ["" if copies[at] else request_ids[at] for at in ranked]
            found = self._ranked([instances[at] for at in ranked], [request_ids[at] for at in ranked], keys, state)
            answers |= dict(zip(ranked, found, strict=True))
        return [answers[at] for at in range(len(instances))]

    def _ranked(
        self, instances: Sequence[Instance], request_ids: Sequence[str], exploration_keys: Sequence[str], state: State
    ) -> list[Answer]:
        times = StageTimes()
        found = self._ranker.rank(instances, exploration_keys, times, state)
        with times.stage("explain"):
            answers = [self._answer(ranked, name) for ranked, name in zip(found, request_ids, strict=True)]
        observe(times)
        for instance, ranked, answer in zip(instances, found, answers, strict=True):
            answer.stale = state.stale and _reads_state(instance)
            REQUESTS.labels(_kind(ranked.case)).inc()
            ITEMS.observe(len(answer.items))
            if not answer.items:
                EMPTY.inc()
            for rule in answer.rules:
                RULES_ACTED.labels(rule).inc()
        return answers

    def _suggested(self, instance: Instance, request_id: str, state: State) -> Answer:
        REQUESTS.labels("suggest").inc()
        return self._suggester.answer(instance, self.version, request_id, state)

    def _read(self, instances: Sequence[Instance]) -> State:
        """Online events of the shoppers of a batch, in one exchange with their store."""
        names = [instance.user_id for instance in instances if instance.user_id and _reads_state(instance)]
        if self._state is None or not names:
            return NO_STATE
        state = self._state.read(names)
        STATE_READS.labels("stale" if state.stale else "read").inc()
        return state

    def now(self) -> int:
        """Epoch seconds by the clock of requests without a timestamp."""
        return self._shoppers.now()

    def knows(self, item_id: str) -> bool:
        """Whether the catalog has an item."""
        return item_id in self._recommender.catalog.row_of

    def explain(self, instances: Sequence[Instance], request_ids: Sequence[str]) -> list[dict[str, Any]]:
        """The answers as JSON, with a detailed explanation of every item (see Explainer.account).

        Beside suggestions, which there is nothing to explain of, items are not explained either.
        """
        if any(instance.suggest is not None for instance in instances):
            copies = [True] * len(instances)
            return [answer.model_dump() for answer in self.answer(instances, request_ids, copies)]
        times = StageTimes()
        found = self._ranker.rank(instances, request_ids, times, self._read(instances))
        with times.stage("explain"):
            answers = [self._explained(ranked, name) for ranked, name in zip(found, request_ids, strict=True)]
        observe(times)
        return answers

    def _answer(self, ranked: Ranked, request_id: str) -> Answer:
        catalog, ranking = self._recommender.catalog, ranked.case.ranking
        items = []
        reasons = self._explainer.reasons(ranked.case)
        related = self._ranker.reranker.reasons(ranking, ranked.plan)
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
            propensities=ranked.propensities, total=int(ranked.page.result.sum()), cursor=ranked.page.cursor,
            facets=ranked.facets,
        )  # fmt: skip

    def _explained(self, ranked: Ranked, request_id: str) -> dict[str, Any]:
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


def _reads_state(instance: Instance) -> bool:
    """Whether online events count: an inline history replaces them."""
    return instance.user_id is not None and instance.history is None
