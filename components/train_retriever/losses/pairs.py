"""Losses on scores: positives against their own negatives (BPR, BCE), and explicit ratings (MSE)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from components.train_retriever.losses.config import Bce, Bpr

_IDENTITY = nn.Identity()


@dataclass(frozen=True)
class Vectors:
    """Model outputs for a batch.

    Attributes:
        user: float [N, D], user vectors.
        item: float [I, D], vectors of all catalog rows; row 0 is the unknown item.
        bias: float [I], item biases.
        side: Maps item vectors to the space of user vectors, row by row; only applied to rows that a loss needs.
    """

    user: torch.Tensor
    item: torch.Tensor
    bias: torch.Tensor
    side: Callable[[torch.Tensor], torch.Tensor] = _IDENTITY

    def of(self, rows: torch.Tensor) -> torch.Tensor:
        """Return catalog rows' vectors in the space of user vectors, [..., D]."""
        return self.side(F.embedding(rows, self.item))

    def scores(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the scores of each user's own rows, [N] or [N, M], the shape of `rows`."""
        wide = rows.unsqueeze(1) if rows.dim() == 1 else rows
        scores = torch.einsum("nd,nmd->nm", self.user, self.of(wide)) + self.bias[wide]
        return scores.squeeze(1) if rows.dim() == 1 else scores


def pair_losses(
    config: Bpr | Bce, positive_N: torch.Tensor, negative_NM: torch.Tensor, counted_NM: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the loss of each token, [N].

    Args:
        config: Selects the loss.
        positive_N: Scores of the targets.
        negative_NM: Scores of each token's negatives.
        counted_NM: bool, which negatives count; without any, negatives add no loss to a token. Default: all.
    """
    positive = positive_N.unsqueeze(1)

    def mean(losses: torch.Tensor) -> torch.Tensor:
        if counted_NM is None:
            return losses.mean(1)
        return (losses * counted_NM).sum(1) / counted_NM.sum(1).clamp(min=1)

    if isinstance(config, Bpr):
        return mean(F.softplus(negative_NM - positive))
    return F.softplus(-positive).squeeze(1) + mean(F.softplus(negative_NM))


def rating_loss(vectors: Vectors, rated_N: torch.Tensor, rating_N: torch.Tensor, mean: float) -> torch.Tensor:
    """Return the mean squared error of explicit ratings.

    Args:
        vectors: Users, items, biases.
        rated_N: int64, the item that each user rated.
        rating_N: float, the ratings.
        mean: Mean of all training ratings; scores predict the difference from it (Koren et al., Matrix Factorization
            Techniques for Recommender Systems, 2009).
    """
    return F.mse_loss(vectors.scores(rated_N) + mean, rating_N)
