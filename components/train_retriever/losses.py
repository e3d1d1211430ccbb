"""Losses over user vectors, item vectors and biases, one config each: full or sampled softmax, BPR, BCE, MSE.

MSE, for explicit ratings, has a function of its own, because it alone needs a rating.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

import torch
import torch.nn.functional as F
from torch import nn

from components.shared.training.precision import multiplies_bfloat16
from components.train_retriever.loss_softmax import full_softmax
from components.train_retriever.negatives import InBatch, NegativeSampler, NegativeSource, Uniform

_MASKED = -1e9
_IDENTITY = nn.Identity()
_ONE_UNIFORM = Uniform(count=1)


@dataclass(frozen=True, kw_only=True)
class FullSoftmax:
    """Every item is a negative: the item tower runs over the whole catalog at every step; for some 10,000 items."""

    bfloat16: bool = True
    """Whether the large products are made in bfloat16, where the device multiplies it; else float32 is faster."""


@dataclass(frozen=True, kw_only=True)
class SampledSoftmax:
    """Shared candidates, each taken down by its log probability to be one.

    Source: Bengio and Senecal, Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language
    Model (2008); Yi et al., Sampling-Bias-Corrected Neural Modeling (RecSys 2019).
    """

    sources: tuple[NegativeSource, ...] = (InBatch(), Uniform(count=2_048))
    """Where candidates come from, joined."""
    bfloat16: bool = True
    """Whether the large products are made in bfloat16, where the device multiplies it; else float32 is faster."""


@dataclass(frozen=True, kw_only=True)
class Bpr:
    """-log sigmoid(positive - negative).

    Source: Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback (UAI 2009).
    """

    source: NegativeSource = _ONE_UNIFORM
    """Where negatives come from."""


@dataclass(frozen=True, kw_only=True)
class Bce:
    """Binary cross-entropy of positive and negatives; the negatives weigh as much as the positive, however many."""

    source: NegativeSource = _ONE_UNIFORM
    """Where negatives come from."""


@dataclass(frozen=True, kw_only=True)
class Mse:
    """Mean squared error of explicit ratings: learns from rated visits alone and has no negatives. See rating_loss."""


RankingLoss = FullSoftmax | SampledSoftmax | Bpr | Bce
LossConfig = RankingLoss | Mse


@dataclass(frozen=True)
class Vectors:
    """What a model puts out for a batch.

    Attributes:
        user: float [N, D], user vectors.
        item: float [I, D], vectors of all catalog rows; row 0 is the unknown item.
        bias: float [I], item biases.
        side: Row by row, what makes item vectors comparable with user vectors; asked for the rows that a loss needs.
    """

    user: torch.Tensor
    item: torch.Tensor
    bias: torch.Tensor
    side: Callable[[torch.Tensor], torch.Tensor] = _IDENTITY

    def of(self, rows: torch.Tensor) -> torch.Tensor:
        """Comparable vectors of catalog rows, [..., D]."""
        return self.side(F.embedding(rows, self.item))

    def scores(self, rows: torch.Tensor) -> torch.Tensor:
        """Scores of each user's own rows: [N] of [N], [N, M] of [N, M]."""
        wide = rows.unsqueeze(1) if rows.dim() == 1 else rows
        scores = torch.einsum("nd,nmd->nm", self.user, self.of(wide)) + self.bias[wide]
        return scores.squeeze(1) if rows.dim() == 1 else scores


def ranking_loss(
    config: RankingLoss, vectors: Vectors, target_N: torch.Tensor, sampler: NegativeSampler,
    weight_N: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """Weighted mean over the tokens of the loss that `config` describes.

    Args:
        config: Which loss.
        vectors: Users, items, biases.
        target_N: int64, the right item of each user.
        sampler: Draws negatives; a full softmax asks for none.
        weight_N: How much each token counts; all alike by default.
    """
    weight = torch.ones_like(vectors.user[:, 0]) if weight_N is None else weight_N
    match config:
        case FullSoftmax():
            dtype = _product_type(config.bfloat16, vectors.user)
            return full_softmax(vectors.user, vectors.side(vectors.item), vectors.bias, target_N, weight, dtype)
        case SampledSoftmax():
            return _sampled(config, vectors, target_N, sampler, weight)
        case Bpr() | Bce():
            rows = sampler.per_token(config.source, target_N, lambda: _every_score(vectors))
            losses = pair_losses(config, vectors.scores(target_N), vectors.scores(rows))
            return (losses * weight).sum() / weight.sum()
        case _:
            assert_never(config)


def pair_losses(
    config: Bpr | Bce, positive_N: torch.Tensor, negative_NM: torch.Tensor, counted_NM: torch.Tensor | None = None
) -> torch.Tensor:
    """Loss of each token, [N].

    Args:
        config: Which loss.
        positive_N: Scores of the targets.
        negative_NM: Scores of each token's negatives.
        counted_NM: bool, which negatives count; a token without any loses nothing by them. All by default.
    """
    positive = positive_N.unsqueeze(1)

    def mean(losses: torch.Tensor) -> torch.Tensor:
        if counted_NM is None:
            return losses.mean(1)
        return (losses * counted_NM).sum(1) / counted_NM.sum(1).clamp(min=1)

    if isinstance(config, Bpr):
        return mean(F.softplus(negative_NM - positive))
    return F.softplus(-positive).squeeze(1) + mean(F.softplus(negative_NM))


def _product_type(wanted: bool, vectors: torch.Tensor) -> torch.dtype:
    return torch.bfloat16 if wanted and multiplies_bfloat16(vectors.device) else vectors.dtype


@torch.no_grad()
def _every_score(vectors: Vectors) -> torch.Tensor:
    return vectors.user @ vectors.side(vectors.item).T + vectors.bias


def _sampled(
    config: SampledSoftmax, vectors: Vectors, target_N: torch.Tensor, sampler: NegativeSampler, weight_N: torch.Tensor
) -> torch.Tensor:
    rows, log_q = sampler.shared(config.sources, target_N)
    item, bias = vectors.of(rows), vectors.bias[rows] - log_q
    if any(isinstance(source, InBatch) for source in config.sources):
        own = torch.searchsorted(rows, target_N)
        dtype = _product_type(config.bfloat16, vectors.user)
        return full_softmax(vectors.user, item, bias, own, weight_N, dtype)
    # Without the batch's targets among the candidates each token's own stands beside them.
    logits = (vectors.user @ item.T + bias).masked_fill(rows == target_N.unsqueeze(1), _MASKED)
    positive = vectors.scores(target_N) - sampler.log_inclusion(config.sources, target_N, len(target_N))
    losses = torch.logaddexp(torch.logsumexp(logits, 1), positive) - positive
    return (losses * weight_N).sum() / weight_N.sum()


def rating_loss(vectors: Vectors, rated_N: torch.Tensor, rating_N: torch.Tensor, mean: float) -> torch.Tensor:
    """Mean squared error of explicit ratings.

    Args:
        vectors: Users, items, biases.
        rated_N: int64, the item that each user rated.
        rating_N: float, the ratings.
        mean: Of all training ratings; the model explains what is left (Koren et al., Matrix Factorization Techniques
            for Recommender Systems, 2009).
    """
    return F.mse_loss(vectors.scores(rated_N) + mean, rating_N)
