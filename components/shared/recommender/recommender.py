"""Ranks items for shopper histories: candidates, features, ranker, order. Shared by evaluation and the predictor."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from components.shared.features.catalog import Catalog
from components.shared.features.columns import DenseInput, ItemStatistic, Task
from components.shared.features.history import Histories, HistoryStore
from components.shared.features.pairs import Pairs, PairSummary, pair_features, summarise_pairs
from components.shared.features.query import query_features
from components.shared.features.ragged import Ragged
from components.shared.features.shopper import shopper_features
from components.shared.features.spec import FeatureSpec
from components.shared.features.vocabulary import read_tokens, read_users
from components.shared.mapped_arrays import map_array
from components.shared.recommender.batches import RankerBatch, Ranking
from components.shared.recommender.blending import blended
from components.shared.recommender.candidates import (
    CandidateConfig,
    Candidates,
    Source,
    hot_items,
    hot_order,
    merge,
    own_items,
    popular_items,
    popularity_orders,
    similar_items,
)
from components.shared.recommender.exported_models import ExportedModels, ItemInputs, Models
from components.shared.recommender.neighbours import Neighbours, item_knn_scores_of
from components.shared.recommender.stage_times import StageTimes
from components.shared.recommender.vector_index import VectorIndex
from components.shared.search.candidates import ItemFacts
from components.shared.search.searching import CatalogSearch, Found
from components.shared.search.understanding import Understanding
from components.shared.storage import read_json
from components.shared.text.tokenizer import tokenize

_FOUND = 2_000
"""Items that a query finds; the best of them, and those that another source has too, are candidates."""
_MEANT = 0.5
"""Share of the words of a query that the model must know for its vectors to stand for what is meant."""


@dataclass
class Recommender:
    """Ranks items with the catalog, statistics, models and indexes of one snapshot."""

    spec: FeatureSpec
    catalog: Catalog
    statistics: np.ndarray
    models: Models
    index: VectorIndex
    search: CatalogSearch | None
    neighbours: Neighbours
    tokens: dict[str, int]
    store: HistoryStore
    user_row: dict[str, int]
    config: CandidateConfig

    def __post_init__(self) -> None:
        self._by_popularity = popularity_orders(self.statistics)
        self._hot = hot_order(self.statistics) if self.config.hot else None
        names = [feature.name for feature in self.spec.item_features]
        ids, weights = concatenated(
            {name: self.catalog.features[name] for name in names},
            [(feature.name, feature.max_length) for feature in self.spec.item_features],
        )
        self._item_inputs = self.models.item_inputs(ids, weights)

    @classmethod
    def open(cls, folder: Path, threads: int = 1, config: CandidateConfig | None = None) -> "Recommender":
        """Open a compiled model or a bundle; large arrays are memory-mapped."""
        spec = FeatureSpec.read(folder / "spec.json")
        catalog = Catalog.read(folder / "items.parquet", spec, content=False, facets=True)
        return cls(
            spec=spec, catalog=catalog,
            statistics=map_array(folder / "statistics.npy"), models=ExportedModels.load(folder, threads),
            index=VectorIndex.load(folder / "retriever" / "index.faiss"),
            search=CatalogSearch.load(folder / "search", _facts(folder, catalog), threads),
            neighbours=Neighbours.open(folder / "neighbours"),
            tokens=read_tokens(folder / "token.parquet"),
            store=HistoryStore.open(folder / "history", spec.user("user").rows - 1),
            user_row=read_users(folder / "users.parquet"),
            config=config or CandidateConfig(**read_json(folder / "ranker" / "ranker.json")["candidates"]),
        )  # fmt: skip

    def rank(
        self, histories: Histories, k: int, queries: Sequence[str] | None = None, allowed: np.ndarray | None = None
    ) -> list[Ranking]:
        """Rank the whole catalog for every row of `histories`.

        Args:
            histories: Events before each row's reference time.
            k: Number of items per row; fewer are returned if fewer are allowed or match.
            queries: One search text per row ('' for none). Queries without a matching item are answered by vector.
            allowed: bool [catalog rows], items that may be returned.
        """
        read = None if queries is None else [self.understood(query) for query in queries]
        return self.ranked([self.candidates(histories, read, allowed)], [k] * len(histories))

    def understood(self, query: str, verbatim: bool = False) -> Understanding | None:
        """What a query is understood as; None for an empty one and where no search was opened."""
        return self.search.understand(query, verbatim) if self.search and query else None

    def candidates(
        self, histories: Histories, queries: Sequence[Understanding | None] | None = None,
        allowed: np.ndarray | None = None, times: StageTimes | None = None, chosen: Candidates | None = None,
        alone: bool = False,
    ) -> RankerBatch:  # fmt: skip
        """Candidates of every row with the ranker's inputs.

        Args:
            histories: Events before each row's reference time.
            queries: One per row, None for no search.
            allowed: See `rank`.
            times: Receives the seconds of the stages 'features' and 'retrieval'.
            chosen: Candidates that were found elsewhere; None: all sources are searched.
            alone: Whether the user tower is called for each row, so that no bit of its vector depends on the others.
        """
        times = times or StageTimes()
        with times.stage("features"):
            length = self.spec.user("query").max_length
            texts = None if queries is None else [query and query.written for query in queries]
            query = None if texts is None else query_features(texts, self.tokens, length)
            features = shopper_features(histories, self.catalog, self.spec, query)
            user = concatenated(features, [(f.name, f.max_length) for f in self.spec.user_features])
            touched = summarise_pairs(histories, len(self.catalog), self.spec)
        with times.stage("retrieval"):
            vectors = self._user_vectors(user, alone)
            item_knn_score = self.neighbours.item_knn_score(touched, len(histories))
            searches = self._searches(queries or [None] * len(histories), allowed)
            found = chosen
            if found is None:
                found = self._candidates(touched, vectors, item_knn_score, searches, queries, allowed)
            pairs = self._pairs(found, vectors, item_knn_score)
        with times.stage("features"):
            dense = pair_features(histories, touched, pairs, self.catalog, self.statistics, self.spec)
        return RankerBatch(found, features, user, dense, searches, np.diff(histories.offsets) > 0)

    def _user_vectors(self, user: tuple[np.ndarray, np.ndarray], alone: bool) -> np.ndarray:
        if not alone or len(user[0]) == 1:
            return self.models.user_vectors(*user)
        each = [self.models.user_vectors(*(values[row : row + 1] for values in user)) for row in range(len(user[0]))]
        return np.concatenate(each)

    def ranked(self, parts: Sequence[RankerBatch], k: Sequence[int], times: StageTimes | None = None) -> list[Ranking]:
        """Rank candidates, with one call of the ranker for all rows of all parts.

        Args:
            parts: Results of `candidates`.
            k: Number of items, for each row.
            times: Receives the seconds of the stage 'ranking'.
        """
        with (times or StageTimes()).stage("ranking"):
            all_rows = RankerBatch.joined(parts)
            found = all_rows.found
            inputs = self.item_inputs(found.item)
            return self._ordered(
                all_rows, self.models.task_probabilities(all_rows.user, inputs, found.row, all_rows.dense), k
            )

    def item_inputs(self, item: np.ndarray) -> ItemInputs:
        """The ranker's inputs of catalog rows, see Models.item_inputs."""
        return tuple(values[item] for values in self._item_inputs)

    def _searches(
        self, queries: Sequence[Understanding | None], allowed: np.ndarray | None
    ) -> tuple[Found | None, ...]:
        if self.search is None:
            return (None,) * len(queries)
        return tuple(query and self.search.find(query, _FOUND, allowed) for query in queries)

    def _candidates(
        self, touched: PairSummary, vectors: np.ndarray, item_knn_score: sparse.csr_matrix,
        searches: Sequence[Found | None], queries: Sequence[Understanding | None] | None, allowed: np.ndarray | None,
    ) -> Candidates:  # fmt: skip
        items, rows = len(self.catalog), len(vectors)
        nearest, _ = self.index.search(vectors, self.config.retrieved, allowed)
        parts = [(np.repeat(np.arange(rows), nearest.shape[1]), nearest.ravel(), Source.RETRIEVED)]
        parts.append(own_items(touched, items, self.config.own))
        parts.append(popular_items(self._by_popularity, rows, self.config.popular, allowed))
        if self._hot is not None:
            parts.append(hot_items(self._hot, rows, self.config.hot, allowed))
        parts.append(similar_items(item_knn_score, self.statistics, self.config.similar, allowed))
        if queries is None or not any(searches):
            return merge(parts, items, allowed)
        return self._searched(parts, searches, queries, allowed)

    def _searched(
        self, parts: list[tuple[np.ndarray, np.ndarray, Source]], searches: Sequence[Found | None],
        queries: Sequence[Understanding | None], allowed: np.ndarray | None,
    ) -> Candidates:  # fmt: skip
        """Candidates of rows with a query: the items that it finds, or by meaning the retrieved ones if it finds none.

        A query whose words the model does not know has no meaning to it, and no candidates.
        """
        items = len(self.catalog)
        searched = np.array([found is not None for found in searches])
        by_meaning = np.array([
            query is not None and found is not None and not len(found.item) and self._known_to_model(query.written)
            for query, found in zip(queries, searches, strict=True)
        ])  # fmt: skip
        kept = []
        for row, item, source in parts:
            use = ~searched[row] | (by_meaning[row] & (source == Source.RETRIEVED))
            kept.append((row[use], item[use], source))
        at = [
            (place, found.first(self.config.lexical, [item[row == place] for row, item, _ in parts]))
            for place, found in enumerate(searches) if found is not None
        ]  # fmt: skip
        row = np.concatenate([np.full(len(found.item), place) for place, found in at]).astype(np.int64)
        item = np.concatenate([found.item for _, found in at]).astype(np.int64)
        merged = merge([*kept, (row, item, Source.LEXICAL)], items, allowed)
        place = np.searchsorted(merged.row * items + merged.item, row * items + item)
        merged.lexical[place] = np.concatenate([found.score for _, found in at])
        merged.rank_class[place] = np.concatenate([found.rank_class for _, found in at])
        return merged

    def _known_to_model(self, text: str) -> bool:
        tokens = tokenize(text)
        return bool(tokens) and sum(token in self.tokens for token in tokens) >= _MEANT * len(tokens)

    def _pairs(self, found: Candidates, vectors: np.ndarray, item_knn_score: sparse.csr_matrix) -> Pairs:
        """The candidates with score = user_vector . item_vector + item_bias and their item_knn_score."""
        joined = self.index.vectors(found.item)
        score = np.einsum("pd,pd->p", vectors[found.row], joined[:, :-1]) + joined[:, -1]
        own, nearest = item_knn_scores_of(item_knn_score, found.row, found.item)
        return Pairs(found.row, found.item, score.astype(np.float32), own, own / np.maximum(nearest, 1e-9))

    def _ordered(self, rows: RankerBatch, tasks: np.ndarray, k: Sequence[int]) -> list[Ranking]:
        found, dense = rows.found, rows.dense
        wanted = target_probability(tasks, dense)
        weight = self.search.personal_weight if self.search else None
        starts, answers = found.starts(len(k)), []
        for row, most in enumerate(k):
            at = slice(starts[row], starts[row + 1])
            score, rank_class = wanted[at], found.rank_class[at]
            if found.lexical[at].any():
                score = blended(found.lexical[at], score, weight, bool(rows.known[row])).astype(np.float32)
            order = np.lexsort((-score, -rank_class))[:most]
            pick = starts[row] + order
            # An item of a lower class has no higher score than one of a higher class, which is before it.
            score = np.minimum.accumulate(score[order]) if len(order) else score[order]
            answers.append(
                Ranking(found.item[pick], score, found.source[pick], found.lexical[pick], tasks[pick], dense[pick],
                        found.rank_class[pick])
            )  # fmt: skip
        return answers


def _facts(folder: Path, catalog: Catalog) -> ItemFacts:
    asked = map_array(folder / "statistics.npy")[:, ItemStatistic.POPULARITY_LONG]
    return ItemFacts(catalog.list_price, np.array(asked), catalog.available, catalog.created_at)


def golden_answer(recommender: Recommender, request: dict[str, Any]) -> dict[str, Any]:
    """Answer a request as of the end of the bundle's data; returns a record for golden.read_golden."""
    row = recommender.user_row.get(request.get("user_id", ""), 0)
    now = np.array([recommender.spec.as_of])
    histories = recommender.store.before(np.array([row]), now, recommender.spec.max_history)
    queries = [request["query"]] if request.get("query") else None
    answer = recommender.rank(histories, request["k"], queries, recommender.catalog.available)[0]
    items = recommender.catalog.item_id.take(answer.item).to_pylist()
    return {"request": request, "items": items, "scores": [round(float(score), 6) for score in answer.score]}


def target_probability(tasks: np.ndarray, dense: np.ndarray) -> np.ndarray:
    """Probability of a target event, float32 [pairs]: the 'again' task for items bought before, else 'first'."""
    return np.where(dense[:, DenseInput.BOUGHT_BEFORE] > 0, tasks[:, Task.AGAIN], tasks[:, Task.FIRST])


def concatenated(features: dict[str, Ragged], widths: list[tuple[str, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Pad every feature to its width and concatenate them: ids int64 and weights float32, [rows, sum of widths]."""
    padded = [features[name].padded(width) for name, width in widths]
    return np.concatenate([ids for ids, _ in padded], 1), np.concatenate([weights for _, weights in padded], 1)
