"""The models as onnxruntime likes them: all embedding tables of one side in one flat table, padded ids, plain ops.

ids [B, W] + row offset of each column -> rows of the flat table -> * weights -> sum per feature -> dense part
"""

from typing import Literal

import torch
from torch import nn

from components.shared.feature_spec import SparseFeature
from components.shared.models.ranker import Ranker, RankerHead
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

    def forward(self, ids_BW: torch.Tensor, weights_BW: torch.Tensor) -> torch.Tensor:
        """Weighted sums of each feature's rows side by side, [B, features * D]."""
        flat = (ids_BW + self.column_start).reshape(-1)
        found = self.rows.index_select(0, flat).float()
        if self.precision == "int8":
            found = found * self.scale.index_select(0, flat) + self.low.index_select(0, flat)
        found = found.reshape(ids_BW.shape[0], -1, self.dim) * weights_BW[..., None]
        return torch.cat([part.sum(1) for part in found.split(self.lengths, 1)], 1)


def _tables(bags: nn.Module, features: tuple[SparseFeature, ...]) -> list[torch.Tensor]:
    weights = dict(bags.named_parameters())
    return [weights[f"embedding_bags.t_{feature.name}.weight"] for feature in features]


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

    def forward(
        self, user_ids: torch.Tensor, user_weights: torch.Tensor, item_ids: torch.Tensor, item_weights: torch.Tensor,
        row: torch.Tensor, dense: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """Probabilities [P, tasks]; the leading user features are read, the query is not."""
        user = self.user_table(user_ids[:, : self.user_width], user_weights[:, : self.user_width])
        item = self.item_table(item_ids, item_weights)
        return torch.sigmoid(self.head(user.index_select(0, row), item, dense))
