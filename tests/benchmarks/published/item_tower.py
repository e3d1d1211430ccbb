"""Item vectors: id embedding + bags of attributes or title tokens + a linear map of precomputed content vectors."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from components.shared.errors import InputError
from components.shared.features.ragged import Ragged
from components.shared.models.encoders.encoder import initialise


@dataclass(frozen=True, kw_only=True)
class ItemTowerConfig:
    """Parts that are summed to an item's vector."""

    rows: int
    """Catalog rows, including the unknown item 0."""
    dim: int
    """Width of the vectors."""
    ids: bool = True
    """Whether each item has its own embedding."""
    bags: tuple[tuple[str, int], ...] = ()
    """Name and rows of each bag of attributes or tokens; row 0 of a bag is the unknown."""
    content_dim: int = 0
    """Width of content vectors (image or text embeddings); 0: none."""
    dropout: float = 0.0
    """Dropout on the vectors, drawn separately for each use of a vector."""
    id_dropout: float = 0.0
    """Share of items whose own embedding is dropped in a training step, so that the other parts must describe them."""


@dataclass(frozen=True, kw_only=True)
class ItemFeatures:
    """Features of every catalog row; row 0, the unknown item, has none."""

    bags: dict[str, Ragged]
    """Attribute or token ids of each row, by the bag's name."""
    content: np.ndarray | None = None
    """float32 [rows, content_dim]; zeros where an item has none."""


class ItemTower(nn.Module):
    """Vectors and biases of catalog rows, used both for a history's tokens and for the candidates."""

    def __init__(self, config: ItemTowerConfig, features: ItemFeatures):
        """Create the tower and store the features of all rows.

        Raises:
            InputError: the config has neither ids, bags nor content, or a feature is missing or has another shape.
        """
        super().__init__()
        self.config = config
        _check(config, features)
        self.ids = nn.Embedding(config.rows, config.dim) if config.ids else None
        self.bags = nn.ModuleDict({name: nn.EmbeddingBag(rows, config.dim) for name, rows in config.bags})
        self.content = nn.Linear(config.content_dim, config.dim) if config.content_dim else None
        self.bias = nn.Parameter(torch.zeros(config.rows))
        self.dropout = nn.Dropout(config.dropout)
        self.apply(initialise)
        for name, _ in config.bags:
            self.register_buffer(f"{name}_values", torch.from_numpy(features.bags[name].values), persistent=False)
            self.register_buffer(f"{name}_offsets", torch.from_numpy(features.bags[name].offsets), persistent=False)
        if config.content_dim and features.content is not None:
            self.register_buffer("content_vectors", torch.from_numpy(features.content), persistent=False)

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return vectors [rows, D] and biases [rows] of the whole catalog, before dropout."""
        parts = []
        if self.ids is not None:
            keep = 1.0 - self.config.id_dropout
            weight = self.ids.weight
            if self.training and keep < 1.0:
                weight = weight * (torch.rand(len(weight), 1, device=weight.device) < keep)
            parts.append(weight)
        for name, bag in self.bags.items():
            values, offsets = self.get_buffer(f"{name}_values"), self.get_buffer(f"{name}_offsets")
            parts.append(F.embedding_bag(values, bag.get_parameter("weight"), offsets[:-1], mode="mean"))
        if self.content is not None:
            parts.append(self.content(self.get_buffer("content_vectors")))
        return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0], self.bias


def _check(config: ItemTowerConfig, features: ItemFeatures) -> None:
    if not (config.ids or config.bags or config.content_dim):
        raise InputError("ItemTowerConfig has neither ids, bags nor content_dim", "give items at least one of them")
    for name, rows in config.bags:
        if name not in features.bags:
            raise InputError(f"bag '{name}' has no features", f"give one of: {', '.join(features.bags) or 'none'}")
        ragged = features.bags[name]
        if len(ragged) != config.rows or ragged.values.max(initial=0) >= rows:
            raise InputError(
                f"bag '{name}' has {len(ragged)} rows with ids up to {ragged.values.max(initial=0)}",
                f"give {config.rows} rows with ids below {rows}",
            )
    if config.content_dim and (features.content is None or features.content.shape != (config.rows, config.content_dim)):
        raise InputError("content vectors are missing or of another shape",
                         f"give float32 [{config.rows}, {config.content_dim}]")  # fmt: skip
