"""Shapes of the sequence encoders, one frozen config each; `EncoderConfig` is any of them."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PooledConfig:
    """Mean of the history so far, then an MLP."""

    hidden_dim: int = 128
    """Width of the hidden layer."""
    dropout: float = 0.2
    """On the tokens and on the hidden layer."""


@dataclass(frozen=True, kw_only=True)
class GruConfig:
    """Gated recurrent units."""

    hidden_dim: int = 128
    """Width of the state."""
    layers: int = 1
    """Stacked layers."""
    dropout: float = 0.2
    """On the tokens and on the state."""


@dataclass(frozen=True, kw_only=True)
class ConvConfig:
    """Causal dilated convolutions over the item sequence."""

    kernel: int = 3
    """Tokens that one convolution sees."""
    dilations: tuple[int, ...] = (1, 2, 4)
    """Distance of those tokens, one residual block each."""
    dropout: float = 0.2
    """On the tokens and on each block's outcome."""


@dataclass(frozen=True, kw_only=True)
class AttentionConfig:
    """Causal self-attention with learned positions."""

    layers: int = 2
    """Blocks of attention and feed-forward."""
    heads: int = 2
    """Attention heads; must divide the width."""
    hidden_dim: int = 256
    """Width of the feed-forward's hidden layer."""
    max_length: int = 50
    """Longest history; the oldest item is position 0."""
    dropout: float = 0.3
    """On tokens, attention weights and each branch's outcome."""


@dataclass(frozen=True, kw_only=True)
class HstuConfig:
    """Hierarchical sequential transduction units."""

    layers: int = 2
    """Units."""
    heads: int = 2
    """Attention heads; must divide the width."""
    max_length: int = 50
    """Longest history; also the constant that attention sums are divided by."""
    dropout: float = 0.3
    """On the tokens and on each unit's outcome."""


EncoderConfig = PooledConfig | GruConfig | ConvConfig | AttentionConfig | HstuConfig
"""What a retriever may read a history with."""


def max_length(config: EncoderConfig) -> int | None:
    """Longest history that an encoder takes; None: any."""
    return config.max_length if isinstance(config, AttentionConfig | HstuConfig) else None
