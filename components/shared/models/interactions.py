"""Feature interactions of the ranker: dot products (DLRM), crosses (DCN V2), a factorisation machine, or none.

Each module maps a pair's V vectors of width D and its dense inputs to one row of features for the task heads, and
optionally an additional logit that needs no further layer.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torchrec.modules.crossnet import CrossNet, LowRankCrossNet

from components.shared.models.ranker_options import (
    ConcatConfig,
    CrossConfig,
    DotConfig,
    FactorizationConfig,
    InteractionConfig,
)

Features = tuple[torch.Tensor, torch.Tensor | None]
"""See Interaction."""


class Interaction(nn.Module):
    """Base of the interaction modules.

    Inputs: concatenated embeddings [P, (V - 1) * D], the vector of the dense inputs [P, D], and the dense inputs
    [P, F]. Outputs: features [P, width], and an additional logit [P, 1] or None.

    Attributes:
        width: width of the features.
    """

    width: int


class _PairProducts(torch.autograd.Function):
    """Dot products of all pairs of vectors, followed by the last vector, [P, V * (V - 1) / 2 + D].

    The gradient of the product matrix is symmetric, so one product computes the vectors' gradient, while autograd would
    compute two and add them. Nothing is scattered into zeros, and the embeddings' gradient is contiguous, as the tables
    require.
    """

    @staticmethod
    def forward(
        ctx: Any, embedded_PE: torch.Tensor, last_PD: torch.Tensor, upper: torch.Tensor, mirror: torch.Tensor,
        dtype: torch.dtype,
    ) -> torch.Tensor:  # fmt: skip
        """Return products in the order of `upper`, indices into the flattened matrix [V, V]; computed in `dtype`."""
        vectors = torch.cat([embedded_PE.to(dtype), last_PD.to(dtype)], 1).view(len(last_PD), -1, last_PD.shape[1])
        ctx.save_for_backward(vectors, mirror)
        ctx.dtypes = embedded_PE.dtype, last_PD.dtype
        products = _columns(torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1), upper)
        return torch.cat([products, vectors[:, -1]], 1)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of both; `mirror` maps each entry of the matrix to its pair, or to the appended zero."""
        vectors, mirror = ctx.saved_tensors
        rows, count, dim = vectors.shape
        products, last = grad_outputs[0].split([count * (count - 1) // 2, dim], 1)
        matrix = _columns(F.pad(products, (0, 1)), mirror).view(rows, count, count)
        embedded = torch.bmm(matrix[:, :-1], vectors).flatten(1)
        own = torch.bmm(matrix[:, -1:], vectors).squeeze(1) + last
        return embedded.to(ctx.dtypes[0]), own.to(ctx.dtypes[1]), None, None, None


def _columns(rows: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Select columns of a matrix; bfloat16 uses `gather`, which is three times faster on CPUs, but not for float32."""
    if rows.dtype == torch.bfloat16:
        found = torch.gather(rows.view(torch.int16), 1, wanted.expand(len(rows), -1))
        return found.view(torch.bfloat16)
    return rows.index_select(1, wanted)


class Dot(Interaction):
    """See DotConfig."""

    upper: torch.Tensor
    mirror: torch.Tensor

    def __init__(self, vectors: int, dim: int, dense: int):
        super().__init__()
        pairs = torch.triu_indices(vectors, vectors, offset=1)
        count = pairs.shape[1]
        mirror = torch.full((vectors, vectors), count)
        mirror[pairs[0], pairs[1]] = mirror[pairs[1], pairs[0]] = torch.arange(count)
        self.register_buffer("upper", pairs[0] * vectors + pairs[1], persistent=False)
        self.register_buffer("mirror", mirror.flatten(), persistent=False)
        self.width = count + dim + dense

    def forward(self, embedded_PE: torch.Tensor, last_PD: torch.Tensor, dense_PF: torch.Tensor) -> Features:
        """See Interaction."""
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            device = embedded_PE.device.type
            dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else embedded_PE.dtype
            features = _PairProducts.apply(embedded_PE, last_PD, self.upper, self.mirror, dtype)
            assert isinstance(features, torch.Tensor)
            return torch.cat([features, dense_PF.to(dtype)], 1) if dense_PF.shape[1] else features, None
        vectors = torch.cat([embedded_PE, last_PD], 1).reshape(last_PD.shape[0], -1, last_PD.shape[1])
        products = torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1)
        return torch.cat([products.index_select(1, self.upper), last_PD, dense_PF], 1), None


class Cross(Interaction):
    """See CrossConfig."""

    def __init__(self, config: CrossConfig, vectors: int, dim: int, dense: int):
        super().__init__()
        inputs = vectors * dim + dense
        full = config.rank == 0
        self.cross = CrossNet(inputs, config.layers) if full else LowRankCrossNet(inputs, config.layers, config.rank)
        self.width = 2 * inputs

    def forward(self, embedded_PE: torch.Tensor, last_PD: torch.Tensor, dense_PF: torch.Tensor) -> Features:
        """See Interaction."""
        joined = torch.cat([embedded_PE, last_PD, dense_PF], 1)
        return torch.cat([self.cross(joined), joined], 1), None


class Factorization(Interaction):
    """See FactorizationConfig."""

    def __init__(self, vectors: int, dim: int, dense: int):
        super().__init__()
        self.width = vectors * dim + dense
        self.first_order = nn.Linear(self.width, 1)

    def forward(self, embedded_PE: torch.Tensor, last_PD: torch.Tensor, dense_PF: torch.Tensor) -> Features:
        """See Interaction."""
        joined = torch.cat([embedded_PE, last_PD, dense_PF], 1)
        # The sum over all pairs of dot products is half of (square of the sum - sum of the squares).
        count = embedded_PE.shape[1] + last_PD.shape[1]
        vectors = joined[:, :count].reshape(last_PD.shape[0], -1, last_PD.shape[1])
        second_order = 0.5 * (vectors.sum(1).square() - vectors.square().sum(1)).sum(1, keepdim=True)
        return joined, self.first_order(joined) + second_order


class Concat(Interaction):
    """See ConcatConfig."""

    def __init__(self, vectors: int, dim: int, dense: int):
        super().__init__()
        self.width = vectors * dim + dense

    def forward(self, embedded_PE: torch.Tensor, last_PD: torch.Tensor, dense_PF: torch.Tensor) -> Features:
        """See Interaction."""
        return torch.cat([embedded_PE, last_PD, dense_PF], 1), None


def interaction(config: InteractionConfig, vectors: int, dim: int, dense: int) -> Interaction:
    """Return the interaction module of a config.

    Args:
        config: Options of the interaction.
        vectors: V, including the vector of the dense inputs.
        dim: D, width of the vectors.
        dense: F, number of dense inputs.
    """
    match config:
        case DotConfig():
            return Dot(vectors, dim, dense)
        case CrossConfig():
            return Cross(config, vectors, dim, dense)
        case FactorizationConfig():
            return Factorization(vectors, dim, dense)
        case ConcatConfig():
            return Concat(vectors, dim, dense)
