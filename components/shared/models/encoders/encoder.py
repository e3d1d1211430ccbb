"""Sequence encoder: maps a history of item vectors, oldest first, to one vector per token; the last is the user vector.

Every encoder is causal, so one pass trains on every prefix of a history. Each supports packed tokens (training) and a
padded rectangle (export) with the same result.
"""

from typing import assert_never

import torch
from torch import nn

from components.shared.models.encoders.attention import AttentionEncoder, HstuEncoder
from components.shared.models.encoders.config import (
    AttentionConfig,
    ConvConfig,
    EncoderConfig,
    GruConfig,
    HstuConfig,
    PooledConfig,
)
from components.shared.models.encoders.recurrent import ConvEncoder, GruEncoder, PooledEncoder
from components.shared.models.encoders.rows import JaggedRows, PaddedRows

INITIAL_STD = 0.02
"""Std of initial embeddings and weights: residual branches start near 0, so an untrained encoder returns its token."""


def _body(config: EncoderConfig, dim: int) -> nn.Module:
    match config:
        case PooledConfig():
            return PooledEncoder(config, dim)
        case GruConfig():
            return GruEncoder(config, dim)
        case ConvConfig():
            return ConvEncoder(config, dim)
        case AttentionConfig():
            return AttentionEncoder(config, dim)
        case HstuConfig():
            return HstuEncoder(config, dim)
        case _:
            assert_never(config)


def initialise(module: nn.Module) -> None:
    """Initialise linear maps and embeddings with small normal weights, and biases with zeros."""
    if isinstance(module, nn.Linear | nn.Embedding | nn.EmbeddingBag):
        nn.init.normal_(module.weight, std=INITIAL_STD)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


class SequenceEncoder(nn.Module):
    """An encoder with token dropout and a learned vector for empty histories."""

    def __init__(self, config: EncoderConfig, dim: int):
        super().__init__()
        self.config = config
        self.dropout = nn.Dropout(config.dropout)
        self.body = _body(config, dim)
        self.empty = nn.Parameter(torch.empty(dim).normal_(std=INITIAL_STD))
        if not isinstance(config, GruConfig):
            self.body.apply(initialise)

    def forward(self, tokens_ND: torch.Tensor, offsets_B1: torch.Tensor) -> torch.Tensor:
        """Return the output at every token, [N, D].

        Args:
            tokens_ND: Item vectors of all rows, one row after the other, oldest first.
            offsets_B1: int64, where each row starts; the last is N.
        """
        return self.body(self.dropout(tokens_ND), JaggedRows(offsets_B1, len(tokens_ND)))

    def padded(self, tokens_BLD: torch.Tensor) -> torch.Tensor:
        """Return the output at every position, [B, L, D]; positions after a row's end are meaningless."""
        return self.body(self.dropout(tokens_BLD), PaddedRows(tokens_BLD.shape[1], tokens_BLD.device))

    def last(self, tokens_ND: torch.Tensor, offsets_B1: torch.Tensor) -> torch.Tensor:
        """Return user vectors [B, D]: the output at each row's last token; the learned vector for an empty row."""
        if len(tokens_ND) == 0:
            return self.empty.expand(len(offsets_B1) - 1, -1)
        chosen = self(tokens_ND, offsets_B1).index_select(0, (offsets_B1[1:] - 1).clamp(min=0))
        return torch.where((offsets_B1.diff() > 0).unsqueeze(1), chosen, self.empty)

    def last_padded(self, tokens_BLD: torch.Tensor, lengths_B: torch.Tensor) -> torch.Tensor:
        """Return user vectors [B, D] of a padded batch with `lengths_B` left-aligned tokens per row."""
        at = (lengths_B - 1).clamp(min=0).view(-1, 1, 1).expand(-1, 1, tokens_BLD.shape[2])
        chosen = self.padded(tokens_BLD).gather(1, at).squeeze(1)
        return torch.where((lengths_B > 0).unsqueeze(1), chosen, self.empty)
