"""The DLRM in plain torch, with one table per feature or one for all; the reference for all variants.

Depends on torch only, because the peers' environment trains it, too.
Source: Naumov et al., Deep Learning Recommendation Model for Personalization and Recommendation Systems (2019).
"""

import zlib
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from tests.benchmarks.throughput.data import Shape

SEED = 0


def mlp(widths: Sequence[int], last_relu: bool, linear: type[nn.Linear]) -> nn.Sequential:
    """Return linear layers with ReLU between them, and after the last one if `last_relu`."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers if last_relu else layers[:-1])


class DenseParts(nn.Module):
    """All layers after the embedding tables; the initial weights depend on the shape only."""

    pairs: torch.Tensor
    linear: type[nn.Linear] = nn.Linear

    def __init__(self, shape: Shape):
        super().__init__()
        vectors = shape.sparse + 1
        torch.manual_seed(SEED)
        self.bottom = mlp([shape.dense, *shape.bottom, shape.dim], True, self.linear)
        self.top = mlp([vectors * (vectors - 1) // 2 + shape.dim, *shape.top, 1], False, self.linear)
        upper = torch.triu_indices(vectors, vectors, offset=1)
        self.register_buffer("pairs", upper[0] * vectors + upper[1], persistent=False)

    def forward(self, embedded_BE: torch.Tensor, numbers_BF: torch.Tensor) -> torch.Tensor:
        """Return logits [B] of concatenated embeddings [B, sparse * dim] and numbers [B, dense]."""
        bottom = self.bottom(numbers_BF)
        return self.top(self.interact(embedded_BE, bottom)).squeeze(1)

    def interact(self, embedded_BE: torch.Tensor, bottom_BD: torch.Tensor) -> torch.Tensor:
        """Return the dot products of all pairs of vectors and the vector of the numbers."""
        vectors = torch.cat([embedded_BE, bottom_BD], 1).view(len(bottom_BD), -1, bottom_BD.shape[1])
        products = torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1)
        return torch.cat([products.index_select(1, self.pairs), vectors[:, -1]], 1)


def first_table(name: str, rows: int, dim: int) -> torch.Tensor:
    """Return initial weights [rows, dim] of a table, from the random stream of its name as in shared/training."""
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()) + SEED)
    return torch.empty(rows, dim).normal_(0.0, dim**-0.5 / 4, generator=generator)


def state_name(feature: str) -> str:
    """Return the name of a feature's table in the state dict of our model."""
    return f"bags.embedding_bags.t_{feature}.weight"


class BagTables(nn.Module):
    """One nn.EmbeddingBag per feature, with sparse gradients."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.bags = nn.ModuleList(
            nn.EmbeddingBag(shape.table_rows, shape.dim, mode="sum", sparse=True,
                            _weight=first_table(state_name(name), shape.table_rows, shape.dim))
            for name in shape.names
        )  # fmt: skip

    def forward(self, ids_BS: torch.Tensor) -> torch.Tensor:
        """Return embeddings [B, sparse * dim]."""
        columns = ids_BS.T.contiguous()
        return torch.cat([bag(column.unsqueeze(1)) for bag, column in zip(self.bags, columns, strict=True)], 1)


class FlatTable(nn.Module):
    """One nn.Embedding for all features."""

    starts: torch.Tensor

    def __init__(self, shape: Shape, sparse: bool):
        super().__init__()
        tables = [first_table(state_name(name), shape.table_rows, shape.dim) for name in shape.names]
        self.table = nn.Embedding.from_pretrained(torch.cat(tables), freeze=False, sparse=sparse)
        self.register_buffer("starts", torch.arange(shape.sparse) * shape.table_rows, persistent=False)

    def forward(self, ids_BS: torch.Tensor) -> torch.Tensor:
        """Return embeddings [B, sparse * dim]."""
        return self.table(ids_BS + self.starts).flatten(1)
