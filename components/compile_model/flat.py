"""The models in a form that onnxruntime runs fast: one flat embedding table per side, padded ids, plain operators.

ids [B, W] + row offset of each column -> rows of the flat table -> * weights -> sum per feature -> dense part
"""

import torch
from torch import nn

from components.compile_model.config import TableFormat
from components.compile_model.flat_table import FlatTable, SparseTables
from components.shared.features.spec import SparseFeature
from components.shared.models.ranker import ITEM, SEQUENCE, Ranker, RankerConfig, RankerHead
from components.shared.models.retriever import Retriever, Tower, append_content

TrainedRows = dict[str, torch.Tensor]
"""Trained rows of each table, bool [rows], by name of the weights; absent tables: all rows are trained."""


def _tables(model: nn.Module, bags: str, features: tuple[SparseFeature, ...], trained: TrainedRows) -> SparseTables:
    weights = dict(model.named_parameters())
    names = [f"{bags}.embedding_bags.t_{feature.name}.weight" for feature in features]
    return SparseTables([weights[name] for name in names], features, [trained.get(name) for name in names])


def _columns(features: tuple[SparseFeature, ...], name: str) -> slice:
    """Return the columns of a feature's ids among the concatenated padded features."""
    at = [feature.name for feature in features].index(name)
    start = sum(feature.max_length for feature in features[:at])
    return slice(start, start + features[at].max_length)


class FlatUserTower(nn.Module):
    """Maps ids and weights of the user features to user vectors."""

    def __init__(
        self, retriever: Retriever, form: TableFormat, trained: TrainedRows | None = None,
        vectors: torch.Tensor | None = None,
    ):  # fmt: skip
        super().__init__()
        features = retriever.config.user_features
        self.table = FlatTable(_tables(retriever, "user_bags", features, trained or {}), form)
        self.tower: Tower = retriever.user_tower
        self.encoder = retriever.encoder
        if self.encoder is not None:
            assert vectors is not None, "an encoder reads item vectors"
            self.sequence = _columns(features, SEQUENCE)
            rows = next(feature.rows for feature in features if feature.name == SEQUENCE)
            token = SparseFeature(name="token", rows=rows, max_length=1)
            self.tokens = FlatTable(SparseTables([vectors[:rows]], (token,), [None]), form)

    def forward(self, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Return user vectors [B, D]."""
        pooled = self.table(ids, weights)
        if self.encoder is None:
            return self.tower(pooled)
        newest_first, lengths = ids[:, self.sequence], (weights[:, self.sequence] > 0).sum(1)
        position = lengths[:, None] - 1 - torch.arange(newest_first.shape[1], device=ids.device)
        tokens = self.tokens.rows_of(newest_first.gather(1, position.clamp(min=0)))
        return self.tower(torch.cat([pooled, self.encoder.last_padded(tokens, lengths)], 1))


class FlatItemTower(nn.Module):
    """Maps ids and weights of the item features, and content vectors if any, to item vectors and biases."""

    def __init__(self, retriever: Retriever, form: TableFormat):
        super().__init__()
        self.table = FlatTable(_tables(retriever, "item_bags", retriever.config.item_features, {}), form)
        self.tower: Tower = retriever.item_tower
        self.content = retriever.content

    def forward(self, ids: torch.Tensor, weights: torch.Tensor, content: torch.Tensor | None = None) -> torch.Tensor:
        """Return vectors and biases concatenated, [N, D + 1]; `content` is [N, content_dim + 1] or None."""
        return self.tower(append_content(self.table(ids, weights), self.content, content))


class FlatRankerItems(nn.Module):
    """What the ranker reads of an item, whoever the shopper is: its embeddings, side by side."""

    def __init__(self, item_table: FlatTable, behaviour: FlatTable | None, item: slice):
        super().__init__()
        self.item_table, self.behaviour, self.item = item_table, behaviour, item

    def forward(self, item_ids: torch.Tensor, item_weights: torch.Tensor) -> torch.Tensor:
        """Return vectors [N, E], or [N, E + B] for a ranker that compares the item with the shopper's events."""
        pooled = self.item_table(item_ids, item_weights)
        if self.behaviour is None:
            return pooled
        return torch.cat([pooled, self.behaviour.rows_of(item_ids[:, self.item]).squeeze(1)], 1)


class FlatRankerPairs(nn.Module):
    """Maps shoppers, vectors of items and dense features to task probabilities."""

    def __init__(self, user_table: FlatTable, behaviour: FlatTable | None, head: RankerHead, config: RankerConfig):
        super().__init__()
        self.user_table, self.behaviour, self.head = user_table, behaviour, head
        self.user_width = sum(feature.max_length for feature in config.user_features)
        self.item_width = len(config.item_features) * config.embedding_dim
        self.sequence = _columns(config.user_features, SEQUENCE)

    def forward(
        self, user_ids: torch.Tensor, user_weights: torch.Tensor, item_vectors: torch.Tensor, row: torch.Tensor,
        dense: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """Return probabilities [P, tasks]; reads the leading user features and ignores the query after them."""
        user = self.user_table(user_ids[:, : self.user_width], user_weights[:, : self.user_width])
        parts = [user.index_select(0, row), item_vectors[:, : self.item_width]]
        if self.behaviour is not None and self.head.attention is not None:
            tokens, targets = self.behaviour.rows_of(user_ids[:, self.sequence]), item_vectors[:, self.item_width :]
            parts.append(self.head.attention(tokens, user_weights[:, self.sequence], targets, row))
        return torch.sigmoid(self.head(torch.cat(parts, 1), dense))


class FlatRanker(nn.Module):
    """Maps padded ids of shoppers and items, and dense features, to task probabilities."""

    def __init__(self, ranker: Ranker, form: TableFormat, trained: TrainedRows | None = None):
        super().__init__()
        config, rows = ranker.config, trained or {}
        user_table = FlatTable(_tables(ranker, "user_bags", config.user_features, rows), form)
        item_table = FlatTable(_tables(ranker, "item_bags", config.item_features, rows), form)
        found = _tables(ranker, "behaviour_bags", (config.behaviour,), rows) if config.behaviour else None
        behaviour = FlatTable(found, form) if found else None
        self.items = FlatRankerItems(item_table, behaviour, _columns(config.item_features, ITEM))
        self.pairs = FlatRankerPairs(user_table, behaviour, ranker.head, config)
        self.pruned = user_table.pruned + item_table.pruned + (behaviour.pruned if behaviour else 0)

    def forward(
        self, user_ids: torch.Tensor, user_weights: torch.Tensor, item_ids: torch.Tensor, item_weights: torch.Tensor,
        row: torch.Tensor, dense: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """Return probabilities [P, tasks]."""
        return self.pairs(user_ids, user_weights, self.items(item_ids, item_weights), row, dense)
