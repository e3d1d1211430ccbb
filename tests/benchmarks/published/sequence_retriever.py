"""Retriever whose user tower encodes the history: the tokens are the item tower's vectors, so both sides are tied.

history ids -- item tower -- tokens -- sequence encoder -- user_vector [B, D]
all items ---- item tower ------------------------------- item_vector [I, D], item_bias [I]
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn

from components.shared.models.encoders.config import EncoderConfig
from components.shared.models.encoders.encoder import SequenceEncoder
from tests.benchmarks.published.item_tower import ItemFeatures, ItemTower, ItemTowerConfig


@dataclass(frozen=True, kw_only=True)
class ScoringConfig:
    """Scoring of a user and an item vector."""

    normalise: bool = False
    """Cosine instead of inner product, so that the vector length cannot encode an item's popularity.

    Source: Gupta et al., NISER: Normalized Item and Session Representations (2019).
    """
    temperature: float = 1.0
    """Divisor of the scores; about 1/12 suits cosines."""
    bias: bool = False
    """Whether items have a learned bias."""


@dataclass(frozen=True, kw_only=True)
class SequenceRetrieverConfig:
    """Shape of a sequence retriever."""

    tower: ItemTowerConfig
    """Item tower."""
    encoder: EncoderConfig
    """Encoder of the history."""
    scoring: ScoringConfig = field(default_factory=ScoringConfig)
    """Scoring of user and item vectors."""


class SequenceRetriever(nn.Module):
    """score = user_vector . item_vector + item_bias."""

    def __init__(self, config: SequenceRetrieverConfig, features: ItemFeatures):
        super().__init__()
        self.config = config
        self.tower = ItemTower(config.tower, features)
        self.encoder = SequenceEncoder(config.encoder, config.tower.dim)

    def items(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return vectors [I, D] and biases [I] of the whole catalog from the tower; see `item_side`."""
        vectors, bias = self.tower()
        return vectors, bias if self.config.scoring.bias else torch.zeros_like(bias)

    def item_side(self, vectors: torch.Tensor) -> torch.Tensor:
        """Convert vectors of the tower for scoring, indexing and use as tokens; applies dropout in training."""
        vectors = self.tower.dropout(vectors)
        return F.normalize(vectors, dim=-1) if self.config.scoring.normalise else vectors

    def user_side(self, outcome: torch.Tensor) -> torch.Tensor:
        """Convert encoder outputs to vectors whose inner product with `item_side` is the score."""
        scoring = self.config.scoring
        return (F.normalize(outcome, dim=-1) if scoring.normalise else outcome) / scoring.temperature

    def every_prefix(self, vectors_ID: torch.Tensor, history_N: torch.Tensor, offsets_B1: torch.Tensor) -> torch.Tensor:
        """Return user vectors of every prefix of packed histories, [N, D], for a training step."""
        tokens = self.item_side(F.embedding(history_N, vectors_ID))
        return self.user_side(self.encoder(tokens, offsets_B1))

    def user_vectors(self, vectors_ID: torch.Tensor, history_N: torch.Tensor, offsets_B1: torch.Tensor) -> torch.Tensor:
        """Return user vectors of whole histories, [B, D]."""
        tokens = self.item_side(F.embedding(history_N, vectors_ID))
        return self.user_side(self.encoder.last(tokens, offsets_B1))
