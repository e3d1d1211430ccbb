"""Options of the sequence encoders, one class each; `EncoderConfig` is any of them."""

from typing import Annotated, Literal

from pydantic import Field

from components.shared.errors import InputError
from components.shared.options import Count, Options, Share


class PooledConfig(Options):
    """Mean of the history so far, then an MLP."""

    kind: Literal["pooled"] = "pooled"
    hidden_dim: Count = 128
    """Width of the hidden layer."""
    dropout: Share = 0.2
    """Dropout of the tokens and of the hidden layer."""


class GruConfig(Options):
    """Gated recurrent units."""

    kind: Literal["gru"] = "gru"
    hidden_dim: Count = 128
    """Width of the state."""
    layers: Count = 1
    """Number of stacked layers."""
    dropout: Share = 0.2
    """Dropout of the tokens and of the state."""


class ConvConfig(Options):
    """Causal dilated convolutions over the item sequence."""

    kind: Literal["conv"] = "conv"
    kernel: Count = 3
    """Number of tokens per convolution."""
    dilations: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 2, 4)
    """Distances between these tokens, one residual block each."""
    dropout: Share = 0.2
    """Dropout of the tokens and of each block's output."""


class AttentionConfig(Options):
    """Causal self-attention with learned positions."""

    kind: Literal["attention"] = "attention"
    layers: Count = 2
    """Number of blocks of attention and feed-forward."""
    heads: Count = 2
    """Attention heads; must divide the width."""
    hidden_dim: Count = 256
    """Width of the feed-forward's hidden layer."""
    max_length: Count = 50
    """Longest history; the oldest item is position 0."""
    dropout: Share = 0.3
    """Dropout of tokens, attention weights and each branch's output."""


class HstuConfig(Options):
    """Hierarchical sequential transduction units."""

    kind: Literal["hstu"] = "hstu"
    layers: Count = 2
    """Number of units."""
    heads: Count = 2
    """Attention heads; must divide the width."""
    max_length: Count = 50
    """Longest history; also the divisor of attention sums."""
    dropout: Share = 0.3
    """Dropout of the tokens and of each unit's output."""


EncoderConfig = PooledConfig | GruConfig | ConvConfig | AttentionConfig | HstuConfig
"""Any sequence encoder of a retriever."""


def max_length(config: EncoderConfig) -> int | None:
    """Return the longest history that an encoder supports; None: no limit."""
    return config.max_length if isinstance(config, AttentionConfig | HstuConfig) else None


def check_heads(config: EncoderConfig, embedding_dim: int) -> None:
    """Check that the attention heads divide the width.

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
