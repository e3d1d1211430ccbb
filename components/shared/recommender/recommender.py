"""Ranks items for shopper histories: candidates, features, ranker, order. Shared by evaluation and the predictor."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from components.shared.features.catalog import Catalog
from components.shared.features.columns import DenseInput, Task
from components.shared.features.history import Histories, HistoryStore
from components.shared.features.pairs import Pairs, PairSummary, pair_features, summarise_pairs
from components.shared.features.query import query_features
from components.shared.features.ragged import Ragged, offsets_of
from components.shared.features.shopper import shopper_features
from components.shared.features.spec import FeatureSpec
from components.shared.features.vocabulary import read_tokens, read_users
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
from components.shared.recommender.exported_models import ExportedModels, Models
from components.shared.recommender.neighbours import Neighbours, item_knn_scores_of
from components.shared.recommender.stage_times import StageTimes
from components.shared.recommender.vector_index import VectorIndex
from components.shared.storage import read_json
from components.shared.text.lexical import LexicalIndex

LEXICAL_SHARE = 0.5
"""Weight of the BM25 score in the score of a search; the rest is the probability of a target event.

Both are first divided by the best candidate's value. On human judgments of an electronics catalog, this blend
reached nDCG@10 .728, against .706 for BM25 alone."""


@dataclass(frozen=True)
class Ranking:
    """Ranked items of one row, best first.

    Attributes:
        item: int64 [n], catalog rows.
        score: float32 [n], score that determines the order.
        source: int64 [n], Source flags.
        lexical: float32 [n], BM25 score.
        tasks: float32 [n, len(Task)], the ranker's probabilities.
        dense: float32 [n, len(DenseInput)].
    """

    item: np.ndarray
    score: np.ndarray
    source: np.ndarray
    lexical: np.ndarray
    tasks: np.ndarray
    dense: np.ndarray

    def take(self, positions: np.ndarray) -> "Ranking":
        """Return the given positions, in that order."""
        return Ranking(**{name: values[positions] for name, values in vars(self).items()})


@dataclass(frozen=True)
class RankerBatch:
    """Candidates with all inputs of the ranker.

    Attributes:
        found: the candidates.
        features: user features by name, one row per history.
        user: the same features padded and concatenated: ids and weights.
        dense: float32 [pairs, dense features].
    """

    found: Candidates
    features: dict[str, Ragged]
    user: tuple[np.ndarray, np.ndarray]
    dense: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence["RankerBatch"]) -> "RankerBatch":
        """Concatenate the rows of all parts, in order."""
        if len(parts) == 1:
            return parts[0]
        first = offsets_of(np.array([len(part.user[0]) for part in parts]))
        item, source, lexical = (
            np.concatenate([getattr(part.found, name) for part in parts]) for name in ("item", "source", "lexical")
        )
        row = np.concatenate([part.found.row + start for part, start in zip(parts, first[:-1], strict=True)])
        features = {name: Ragged.joined([part.features[name] for part in parts]) for name in parts[0].features}
        user = np.concatenate([part.user[0] for part in parts]), np.concatenate([part.user[1] for part in parts])
        return cls(
            Candidates(row, item, source, lexical), features, user, np.concatenate([part.dense for part in parts])
        )


@dataclass
class Recommender:
    """Ranks items with the catalog, statistics, models and indexes of one snapshot."""

    spec: FeatureSpec
    catalog: Catalog
    statistics: np.ndarray
    models: Models
    index: VectorIndex
    lexical: LexicalIndex
    neighbours: Neighbours
    tokens: dict[str, int]
    store: HistoryStore
    user_row: dict[str, int]
    config: CandidateConfig

    def __post_init__(self) -> None:
        self._by_popularity = popularity_orders(self.statistics)
        self._hot = hot_order(self.statistics) if self.config.hot else None
        names = [feature.name for feature in self.spec.item_features]
        self._item_inputs = concatenated(
            {name: self.catalog.features[name] for name in names},
            [(feature.name, feature.max_length) for feature in self.spec.item_features],
        )

    @classmethod
    def open(cls, folder: Path, threads: int = 1, config: CandidateConfig | None = None) -> "Recommender":
        """Open a compiled model or a bundle; large arrays are memory-mapped."""
        spec = FeatureSpec.read(folder / "spec.json")
        return cls(
            spec=spec, catalog=Catalog.read(folder / "items.parquet", spec, content=False),
            statistics=np.load(folder / "statistics.npy", mmap_mode="r"), models=ExportedModels.load(folder, threads),
            index=VectorIndex.load(folder / "retriever" / "index.faiss"),
            lexical=LexicalIndex.load(folder / "lexical"), neighbours=Neighbours.open(folder / "neighbours"),
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
        return self.ranked([self.candidates(histories, queries, allowed)], [k] * len(histories))

    def candidates(
        self, histories: Histories, queries: Sequence[str] | None = None,
        allowed: np.ndarray | None = None, times: StageTimes | None = None,
    ) -> RankerBatch:  # fmt: skip
        """Candidates of every row with the ranker's inputs.

        Args:
            histories: Events before each row's reference time.
            queries: See `rank`.
            allowed: See `rank`.
            times: Receives the seconds of the stages 'features' and 'retrieval'.
        """
        times = times or StageTimes()
        with times.stage("features"):
            length = self.spec.user("query").max_length
            query = None if queries is None else query_features(queries, self.tokens, length)
            features = shopper_features(histories, self.catalog, self.spec, query)
            user = concatenated(features, [(f.name, f.max_length) for f in self.spec.user_features])
            touched = summarise_pairs(histories, len(self.catalog), self.spec)
        with times.stage("retrieval"):
            vectors = self.models.user_vectors(*user)
            item_knn_score = self.neighbours.item_knn_score(touched, len(histories))
            found = self._candidates(touched, vectors, item_knn_score, queries, allowed)
            pairs = self._pairs(found, vectors, item_knn_score)
        with times.stage("features"):
            dense = pair_features(histories, touched, pairs, self.catalog, self.statistics, self.spec)
        return RankerBatch(found, features, user, dense)

    def ranked(self, parts: Sequence[RankerBatch], k: Sequence[int], times: StageTimes | None = None) -> list[Ranking]:
        """Rank candidates, with one call of the ranker for all rows of all parts.

        Args:
            parts: Results of `candidates`.
            k: Number of items, for each row.
            times: Receives the seconds of the stage 'ranking'.
        """
        with (times or StageTimes()).stage("ranking"):
            all_rows = RankerBatch.joined(parts)
            found, dense = all_rows.found, all_rows.dense
            tasks = self.models.task_probabilities(all_rows.user, self.item_inputs(found.item), found.row, dense)
            return self._ordered(found, dense, tasks, k)

    def item_inputs(self, item: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The ranker's inputs of catalog rows: ids int64 and weights float32, [items, width]."""
        ids, weights = self._item_inputs
        return ids[item], weights[item]

    def _candidates(
        self, touched: PairSummary, vectors: np.ndarray, item_knn_score: sparse.csr_matrix,
        queries: Sequence[str] | None, allowed: np.ndarray | None,
    ) -> Candidates:  # fmt: skip
        items, rows = len(self.catalog), len(vectors)
        nearest, _ = self.index.search(vectors, self.config.retrieved, allowed)
        parts = [(np.repeat(np.arange(rows), nearest.shape[1]), nearest.ravel(), Source.RETRIEVED)]
        parts.append(own_items(touched, items, self.config.own))
        parts.append(popular_items(self._by_popularity, rows, self.config.popular, allowed))
        if self._hot is not None:
            parts.append(hot_items(self._hot, rows, self.config.hot, allowed))
        parts.append(similar_items(item_knn_score, self.statistics, self.config.similar, allowed))
        if queries is None or not any(queries):
            return merge(parts, items, allowed)
        return self._searched(parts, queries, allowed)

    def _searched(
        self, parts: list[tuple[np.ndarray, np.ndarray, Source]], queries: Sequence[str], allowed: np.ndarray | None
    ) -> Candidates:
        """Candidates of rows with a query: items that match a word of it, or retrieved items if none matches."""
        items = len(self.catalog)
        matches = [self.lexical.search(query, self.config.lexical, allowed) if query else None for query in queries]
        searched = np.array([match is not None and len(match[0]) > 0 for match in matches])
        unmatched = np.array([match is not None and len(match[0]) == 0 for match in matches])
        kept = []
        for row, item, source in parts:
            # A search only returns matching items; if there are none, it returns the items retrieved by vector.
            use = ~searched[row] & (~unmatched[row] | (source == Source.RETRIEVED))
            kept.append((row[use], item[use], source))
        rows = [np.full(len(match[0]), at) for at, match in enumerate(matches) if match is not None]
        found = [match[0] for match in matches if match is not None]
        scores = np.concatenate([match[1] for match in matches if match is not None])
        row, item = np.concatenate(rows).astype(np.int64), np.concatenate(found).astype(np.int64)
        merged = merge([*kept, (row, item, Source.LEXICAL)], items, allowed)
        lexical = np.zeros(len(merged.row), np.float32)
        lexical[np.searchsorted(merged.row * items + merged.item, row * items + item)] = scores
        return Candidates(merged.row, merged.item, merged.source, lexical)

    def _pairs(self, found: Candidates, vectors: np.ndarray, item_knn_score: sparse.csr_matrix) -> Pairs:
        """The candidates with score = user_vector . item_vector + item_bias and their item_knn_score."""
        joined = self.index.vectors(found.item)
        score = np.einsum("pd,pd->p", vectors[found.row], joined[:, :-1]) + joined[:, -1]
        own, nearest = item_knn_scores_of(item_knn_score, found.row, found.item)
        return Pairs(found.row, found.item, score.astype(np.float32), own, own / np.maximum(nearest, 1e-9))

    def _ordered(self, found: Candidates, dense: np.ndarray, tasks: np.ndarray, k: Sequence[int]) -> list[Ranking]:
        wanted = target_probability(tasks, dense)
        starts, answers = found.starts(len(k)), []
        for row, most in enumerate(k):
            at = slice(starts[row], starts[row + 1])
            score = wanted[at]
            if found.lexical[at].any():
                lexical = found.lexical[at] / found.lexical[at].max()
                score = LEXICAL_SHARE * lexical + (1 - LEXICAL_SHARE) * score / max(float(score.max()), 1e-9)
            order = np.argsort(-score, kind="stable")[:most]
            pick = starts[row] + order
            answers.append(
                Ranking(
                    found.item[pick], score[order], found.source[pick], found.lexical[pick], tasks[pick], dense[pick]
                )
            )
        return answers


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
