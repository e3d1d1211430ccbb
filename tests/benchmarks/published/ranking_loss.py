"""Losses over user vectors, item vectors and biases: full or sampled softmax, BPR, BCE."""

from collections.abc import Callable
from typing import assert_never

import torch

from components.shared.training.compute_dtype import multiplies_bfloat16
from components.train_retriever.losses.config import (
    Bce,
    Bpr,
    FullSoftmax,
    Hard,
    InBatch,
    NegativeSource,
    RankingLoss,
    SampledSoftmax,
)
from components.train_retriever.losses.negatives import NegativeSampler
from components.train_retriever.losses.pairs import Vectors, pair_losses
from components.train_retriever.losses.softmax import MASKED
from tests.benchmarks.published.loss_softmax import full_softmax


def ranking_loss(
    config: RankingLoss, vectors: Vectors, target_N: torch.Tensor, sampler: NegativeSampler,
    weight_N: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """Return the weighted mean over the tokens of the configured loss.

    Args:
        config: Loss to compute.
        vectors: Users, items, biases.
        target_N: int64, the target item of each user.
        sampler: Draws negatives; not used by a full softmax.
        weight_N: Weight of each token; equal by default.
    """
    weight = torch.ones_like(vectors.user[:, 0]) if weight_N is None else weight_N
    match config:
        case FullSoftmax():
            dtype = _product_type(config.bfloat16, vectors.user)
            return full_softmax(vectors.user, vectors.side(vectors.item), vectors.bias, target_N, weight, dtype)
        case SampledSoftmax():
            return _sampled(config, vectors, target_N, sampler, weight)
        case Bpr() | Bce():
            rows = negatives_per_token(sampler, config.source, target_N, lambda: _every_score(vectors))
            losses = pair_losses(config, vectors.scores(target_N), vectors.scores(rows))
            return (losses * weight).sum() / weight.sum()
        case _:
            assert_never(config)


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
    # The candidates do not include the batch's targets, so each token's own target is added to them.
    logits = (vectors.user @ item.T + bias).masked_fill(rows == target_N.unsqueeze(1), MASKED)
    positive = vectors.scores(target_N) - sampler.log_inclusion(config.sources, target_N, len(target_N))
    losses = torch.logaddexp(torch.logsumexp(logits, 1), positive) - positive
    return (losses * weight_N).sum() / weight_N.sum()


def negatives_per_token(
    sampler: NegativeSampler, source: NegativeSource, target_N: torch.Tensor, scores: Callable[[], torch.Tensor]
) -> torch.Tensor:
    """Return negatives of each token, int64 [N, count]; a draw equal to the token's target is drawn again once.

    Args:
        source: Source of the negatives.
        target_N: Targets of the batch.
        scores: Computes the scores of all items for each token, [N, I]; called for Hard only.
    """
    if isinstance(source, Hard):
        return _hardest(sampler, source, target_N, scores())
    first, second = (sampler.draws(source, target_N) for _ in range(2))
    return torch.where(first == target_N.unsqueeze(1), second, first)


def _hardest(sampler: NegativeSampler, source: Hard, target_N: torch.Tensor, scores_NI: torch.Tensor) -> torch.Tensor:
    scores_NI[:, 0] = float("-inf")
    scores_NI.scatter_(1, target_N.unsqueeze(1), float("-inf"))
    pool = scores_NI.topk(min(source.pool, sampler.items - 2), 1).indices
    positions = torch.randint(pool.shape[1], (len(target_N), source.count), generator=sampler.random)
    return pool.gather(1, positions)
