"""Encoders with causal attention; linear maps run on packed tokens, and only attention pads.

Two thirds of a padded batch are padding (reference measurement), and linear maps are most of the work.
"""

import torch
import torch.nn.functional as F
from torch import nn

from components.shared.models.encoders.config import AttentionConfig, HstuConfig
from components.shared.models.encoders.rows import TokenRows


def split_heads(tokens_BLD: torch.Tensor, heads: int) -> torch.Tensor:
    """Reshape [B, L, D] to [B, heads, L, D / heads]."""
    return tokens_BLD.unflatten(-1, (heads, -1)).transpose(1, 2)


class AttentionBlock(nn.Module):
    """Pre-normalised attention and feed-forward, both residual."""

    def __init__(self, config: AttentionConfig, dim: int):
        super().__init__()
        self.heads, self.rate = config.heads, config.dropout
        self.norm, self.feed_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.hidden, self.feed_out = nn.Linear(dim, config.hidden_dim), nn.Linear(config.hidden_dim, dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: torch.Tensor, rows: TokenRows) -> torch.Tensor:
        """Return outputs of the same shape as the tokens."""
        tokens = tokens + self.dropout(self.out(rows.attend(self._parts(self.norm(tokens)), self._attention)))
        hidden = self.dropout(F.gelu(self.hidden(self.feed_norm(tokens))))
        return tokens + self.dropout(self.feed_out(hidden))

    def _parts(self, normed: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return query, key and value; one product computes them in training, three in an exported graph."""
        linears = (self.query, self.key, self.value)
        if not self.training:
            return tuple(linear(normed) for linear in linears)
        weight, bias = torch.cat([one.weight for one in linears]), torch.cat([one.bias for one in linears])
        return F.linear(normed, weight, bias).chunk(3, -1)

    def _attention(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        rate = self.rate if self.training else 0.0
        parts = (split_heads(part, self.heads) for part in (query, key, value))
        # Padding comes after all tokens of its row, so the causal mask hides it too.
        return F.scaled_dot_product_attention(*parts, dropout_p=rate, is_causal=True).transpose(1, 2).flatten(2)


class AttentionEncoder(nn.Module):
    """Causal self-attention.

    Source: Kang and McAuley, Self-Attentive Sequential Recommendation (ICDM 2018).
    """

    def __init__(self, config: AttentionConfig, dim: int):
        super().__init__()
        self.positions = nn.Embedding(config.max_length, dim)
        self.blocks = nn.ModuleList([AttentionBlock(config, dim) for _ in range(config.layers)])
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: torch.Tensor, rows: TokenRows) -> torch.Tensor:
        """Return outputs of the same shape as the tokens."""
        tokens = tokens + self.positions(rows.position)
        for block in self.blocks:
            tokens = block(tokens, rows)
        return self.norm(tokens)


class HstuUnit(nn.Module):
    """Gated attention with SiLU instead of softmax weights, so that the result depends on the history's volume."""

    distance: torch.Tensor
    causal: torch.Tensor

    def __init__(self, config: HstuConfig, dim: int):
        super().__init__()
        self.heads, self.length = config.heads, config.max_length
        self.norm, self.mixed_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.inputs, self.out = nn.Linear(dim, 4 * dim), nn.Linear(dim, dim)
        self.relative = nn.Parameter(torch.zeros(config.heads, config.max_length))
        self.dropout = nn.Dropout(config.dropout)
        position = torch.arange(config.max_length)
        self.register_buffer("distance", (position[:, None] - position[None]).clamp(min=0), persistent=False)
        self.register_buffer("causal", (position[:, None] >= position[None]).float(), persistent=False)

    def forward(self, tokens: torch.Tensor, rows: TokenRows) -> torch.Tensor:
        """Return outputs of the same shape as the tokens."""
        gate, value, query, key = F.silu(self.inputs(self.norm(tokens))).chunk(4, -1)
        mixed = rows.attend((query, key, value), self._attention)
        return tokens + self.dropout(self.out(self.mixed_norm(mixed) * gate))

    def _attention(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        query_BHLE, key_BHLE, value_BHLE = (split_heads(part, self.heads) for part in (query, key, value))
        length = query_BHLE.shape[2]
        bias_HLL = self.relative[:, self.distance[:length, :length]]
        weights = F.silu(query_BHLE @ key_BHLE.transpose(2, 3) + bias_HLL) / self.length
        mixed = (weights * self.causal[:length, :length]) @ value_BHLE
        return mixed.transpose(1, 2).flatten(2)


class HstuEncoder(nn.Module):
    """Hierarchical sequential transduction units; without the paper's time bias, as tokens carry no timestamps.

    Source: Zhai et al., Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for Generative
    Recommendations (ICML 2024).
    """

    def __init__(self, config: HstuConfig, dim: int):
        super().__init__()
        self.positions = nn.Embedding(config.max_length, dim)
        self.units = nn.ModuleList([HstuUnit(config, dim) for _ in range(config.layers)])
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: torch.Tensor, rows: TokenRows) -> torch.Tensor:
        """Return outputs of the same shape as the tokens."""
        tokens = tokens + self.positions(rows.position)
        for unit in self.units:
            tokens = unit(tokens, rows)
        return self.norm(tokens)
