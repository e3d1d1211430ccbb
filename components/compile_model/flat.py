"""The models as onnxruntime likes them: all embedding tables of one side in one flat table, padded ids, plain ops.

ids [B, W] + row offset of each column -> rows of the flat table -> * weights -> sum per feature -> dense part
"""

from typing import Literal

import torch
from torch import nn

from components.shared.feature_spec import SparseFeature
from components.shared.models.ranker import ITEM, SEQUENCE, Ranker, RankerHead
from components.shared.models.retriever import Retriever, Tower

Precision = Literal["fp32", "fp16", "int8"]


class FlatTable(nn.Module):
    """Embedding tables under each other, stored as fp32, fp16 or int8 with a scale and a minimum a row."""

    column_start: torch.Tensor
    rows: torch.Tensor
    scale: torch.Tensor
    low: torch.Tensor

    def __init__(self, tables: list[torch.Tensor], features: tuple[SparseFeature, ...], precision: Precision):
        super().__init__()
        self.lengths = [feature.max_length for feature in features]
        starts = torch.cumsum(torch.tensor([0, *(len(table) for table in tables[:-1])]), 0)
        self.register_buffer("column_start", torch.repeat_interleave(starts, torch.tensor(self.lengths))[None])
        joined = torch.cat(tables).detach()
        self.dim, self.precision = joined.shape[1], precision
        if precision == "int8":
            low, high = joined.aminmax(dim=1, keepdim=True)
            scale = ((high - low) / 255.0).clamp_min(1e-12)
            self.register_buffer("rows", ((joined - low) / scale).round().clamp(0, 255).to(torch.uint8))
            self.register_buffer("scale", scale)
            self.register_buffer("low", low)
        else:
            self.register_buffer("rows", joined.half() if precision == "fp16" else joined)

    def rows_of(self, ids_BW: torch.Tensor) -> torch.Tensor:
        """The row of each id, [B, W, D]."""
        flat = (ids_BW + self.column_start).reshape(-1)
        found = self.rows.index_select(0, flat).float()
        if self.precision == "int8":
            found = found * self.scale.index_select(0, flat) + self.low.index_select(0, flat)
        return found.reshape(ids_BW.shape[0], -1, self.dim)

    def forward(self, ids_BW: torch.Tensor, weights_BW: torch.Tensor) -> torch.Tensor:
        """Weighted sums of each feature's rows side by side, [B, features * D]."""
        found = self.rows_of(ids_BW) * weights_BW[..., None]
        return torch.cat([part.sum(1) for part in found.split(self.lengths, 1)], 1)


def _tables(bags: nn.Module, features: tuple[SparseFeature, ...]) -> list[torch.Tensor]:
    weights = dict(bags.named_parameters())
    return [weights[f"embedding_bags.t_{feature.name}.weight"] for feature in features]


def _columns(features: tuple[SparseFeature, ...], name: str) -> slice:
    """Where a feature's ids lie among padded features side by side."""
    at = [feature.name for feature in features].index(name)
    start = sum(feature.max_length for feature in features[:at])
    return slice(start, start + features[at].max_length)


class FlatUserTower(nn.Module):
    """ids and weights of the user features to user vectors."""

    def __init__(self, retriever: Retriever, precision: Precision):
        super().__init__()
        features = retriever.config.user_features
        self.table = FlatTable(_tables(retriever.user_bags, features), features, precision)
        self.tower: Tower = retriever.user_tower

    def forward(self, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """User vectors [B, D]."""
        return self.tower(self.table(ids, weights))


class FlatRanker(nn.Module):
    """Padded ids of shoppers and items, and dense features, to task probabilities."""

    def __init__(self, ranker: Ranker, precision: Precision):
        super().__init__()
        config = ranker.config
        self.user_table = FlatTable(_tables(ranker.user_bags, config.user_features), config.user_features, precision)
        self.item_table = FlatTable(_tables(ranker.item_bags, config.item_features), config.item_features, precision)
        self.head: RankerHead = ranker.head
        self.user_width = sum(feature.max_length for feature in config.user_features)
        behaviour, bags = config.behaviour, ranker.behaviour_bags
        self.behaviour = FlatTable(_tables(bags, (behaviour,)), (behaviour,), precision) if behaviour and bags else None
        self.sequence = _columns(config.user_features, SEQUENCE)
        self.item = _columns(config.item_features, ITEM)

    def forward(
        self, user_ids: torch.Tensor, user_weights: torch.Tensor, item_ids: torch.Tensor, item_weights: torch.Tensor,
        row: torch.Tensor, dense: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """Probabilities [P, tasks]; the leading user features are read, the query is not."""
        user = self.user_table(user_ids[:, : self.user_width], user_weights[:, : self.user_width])
        parts = [user.index_select(0, row), self.item_table(item_ids, item_weights)]
        if self.behaviour is not None and self.head.attention is not None:
            tokens, targets = (
                self.behaviour.rows_of(ids) for ids in (user_ids[:, self.sequence], item_ids[:, self.item])
            )
            parts.append(self.head.attention(tokens, user_weights[:, self.sequence], targets.squeeze(1), row))
        return torch.sigmoid(self.head(torch.cat(parts, 1), dense))
