"""Shapes of the sequence encoders, one frozen config each; `EncoderConfig` is any of them."""

from dataclasses import dataclass

from components.shared.config_fields import Count, Share
from components.shared.errors import InputError


@dataclass(frozen=True, kw_only=True)
class PooledConfig:
    """Mean of the history so far, then an MLP."""

    hidden_dim: Count = 128
    """Width of the hidden layer."""
    dropout: Share = 0.2
    """On the tokens and on the hidden layer."""


@dataclass(frozen=True, kw_only=True)
class GruConfig:
    """Gated recurrent units."""

    hidden_dim: Count = 128
    """Width of the state."""
    layers: Count = 1
    """Stacked layers."""
    dropout: Share = 0.2
    """On the tokens and on the state."""


@dataclass(frozen=True, kw_only=True)
class ConvConfig:
    """Causal dilated convolutions over the item sequence."""

    kernel: Count = 3
    """Tokens that one convolution sees."""
    dilations: tuple[Count, ...] = (1, 2, 4)
    """Distance of those tokens, one residual block each."""
    dropout: Share = 0.2
    """On the tokens and on each block's outcome."""


@dataclass(frozen=True, kw_only=True)
class AttentionConfig:
    """Causal self-attention with learned positions."""

    layers: Count = 2
    """Blocks of attention and feed-forward."""
    heads: Count = 2
    """Attention heads; must divide the width."""
    hidden_dim: Count = 256
    """Width of the feed-forward's hidden layer."""
    max_length: Count = 50
    """Longest history; the oldest item is position 0."""
    dropout: Share = 0.3
    """On tokens, attention weights and each branch's outcome."""


@dataclass(frozen=True, kw_only=True)
class HstuConfig:
    """Hierarchical sequential transduction units."""

    layers: Count = 2
    """Units."""
    heads: Count = 2
    """Attention heads; must divide the width."""
    max_length: Count = 50
    """Longest history; also the constant that attention sums are divided by."""
    dropout: Share = 0.3
    """On the tokens and on each unit's outcome."""


EncoderConfig = PooledConfig | GruConfig | ConvConfig | AttentionConfig | HstuConfig
"""What a retriever may read a history with."""


def max_length(config: EncoderConfig) -> int | None:
    """Longest history that an encoder takes; None: any."""
    return config.max_length if isinstance(config, AttentionConfig | HstuConfig) else None


def check_heads(config: EncoderConfig, embedding_dim: int) -> None:
    """Refuse attention heads that cannot share the width out.

    Args:
        config: The encoder.
        embedding_dim: Width of its tokens.

    Raises:
        InputError: the heads do not divide the width.
    """
    if isinstance(config, AttentionConfig | HstuConfig) and embedding_dim % config.heads:
        fitting = [str(heads) for heads in range(1, embedding_dim + 1) if embedding_dim % heads == 0]
        raise InputError(
            f"encoder: heads is {config.heads}, which does not divide the width of the tokens, embedding_dim, "
            f"{embedding_dim}",
            f"use one of: {', '.join(fitting)}",
        )
