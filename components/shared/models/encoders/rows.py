"""Layouts of the tokens of a batch: packed (jagged) or as a padded rectangle; encoders support both.

    jagged: tokens [N, D] = a0 a1 a2 b0          padded: tokens [B, L, D] = a0 a1 a2
            offsets [B + 1] = 0 3 4                                       b0  .  .

Rows are left-aligned, so the output of a causal model at a token does not depend on the padding after it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
import torch.nn.functional as F

Attention = Callable[..., torch.Tensor]
"""Mixes the tokens of each row: maps several [B, L, D] to one [B, L, D]."""


class TokenRows(Protocol):
    """Operations of a layout."""

    position: torch.Tensor
    """int64, position of each token in its row, the oldest is 0; broadcasts against the tokens without their width."""

    def pad(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return tokens as [B, L, D]; positions after a row's end contain arbitrary finite values."""
        ...

    def unpad(self, tokens_BLD: torch.Tensor) -> torch.Tensor:
        """Convert [B, L, D] back to the layout's shape."""
        ...

    def shift(self, tokens: torch.Tensor, by: int) -> torch.Tensor:
        """Return for each token the one `by` positions earlier in the same row; zeros if there is none."""
        ...

    def attend(self, parts: tuple[torch.Tensor, ...], attention: Attention) -> torch.Tensor:
        """Apply `attention` to the padded parts, for some rows at a time, and return its output at each token."""
        ...


@dataclass(frozen=True)
class _Bucket:
    """Rows of similar lengths.

    Attributes:
        tokens: int64, tokens of these rows. slot: positions of the tokens in the padded bucket. rows: number of rows.
        length: length of the longest row.
    """

    tokens: torch.Tensor
    slot: torch.Tensor
    rows: int
    length: int


_SHORT = 8
"""Rows up to this length share a bucket."""


class JaggedRows:
    """Tokens [N, D] of concatenated rows."""

    def __init__(self, offsets_B1: torch.Tensor, count: int):
        lengths = offsets_B1.diff()
        self.rows, self.length = len(lengths), int(lengths.max()) if len(lengths) else 0
        row = torch.repeat_interleave(torch.arange(self.rows, device=lengths.device), lengths, output_size=count)
        self.lengths, self.row = lengths, row
        self.index = torch.arange(count, device=lengths.device)
        self.position = self.index - offsets_B1.index_select(0, row)
        self.slot = row * self.length + self.position

    def pad(self, tokens: torch.Tensor) -> torch.Tensor:
        """See TokenRows."""
        flat = tokens.new_zeros(self.rows * self.length, tokens.shape[-1]).index_copy(0, self.slot, tokens)
        return flat.view(self.rows, self.length, tokens.shape[-1])

    def unpad(self, tokens_BLD: torch.Tensor) -> torch.Tensor:
        """See TokenRows."""
        return tokens_BLD.flatten(0, 1).index_select(0, self.slot)

    def shift(self, tokens: torch.Tensor, by: int) -> torch.Tensor:
        """See TokenRows."""
        if by == 0:
            return tokens
        earlier = tokens.index_select(0, (self.index - by).clamp(min=0))
        return earlier * (self.position >= by).unsqueeze(1)

    @cached_property
    def buckets(self) -> list[_Bucket]:
        """Rows whose lengths round up to the same power of two; one bucket on a GPU, where launches cost more."""
        if self.lengths.is_cuda or self.length <= _SHORT:
            return [_Bucket(self.index, self.slot, self.rows, self.length)]
        power = self.lengths.clamp(min=_SHORT).sub(1).double().log2().floor()
        found = []
        for one in power.unique():
            chosen = power == one
            tokens = chosen.index_select(0, self.row).nonzero().squeeze(1)
            position = chosen.cumsum(0).sub(1).index_select(0, self.row.index_select(0, tokens))
            length = int(self.lengths[chosen].max())
            slot = position * length + self.position.index_select(0, tokens)
            found.append(_Bucket(tokens, slot, int(chosen.sum()), length))
        return found

    def attend(self, parts: tuple[torch.Tensor, ...], attention: Attention) -> torch.Tensor:
        """See TokenRows; works by bucket, because most rows are short and would be padded to the longest."""
        mixed = []
        for bucket in self.buckets:
            shape = (bucket.rows, bucket.length)
            padded = [
                part.new_zeros(bucket.rows * bucket.length, part.shape[1])
                .index_copy(0, bucket.slot, part.index_select(0, bucket.tokens))
                .unflatten(0, shape)
                for part in parts
            ]
            mixed.append(attention(*padded).flatten(0, 1).index_select(0, bucket.slot))
        if len(mixed) == 1:
            return mixed[0]
        joined = torch.cat(mixed)
        return torch.zeros_like(joined).index_copy(0, torch.cat([bucket.tokens for bucket in self.buckets]), joined)


class PaddedRows:
    """Tokens [B, L, D]; static operations only, as an exported graph needs."""

    def __init__(self, length: int, device: torch.device):
        self.length = length
        self.position = torch.arange(length, device=device)

    def pad(self, tokens: torch.Tensor) -> torch.Tensor:
        """See TokenRows."""
        return tokens

    def unpad(self, tokens_BLD: torch.Tensor) -> torch.Tensor:
        """See TokenRows."""
        return tokens_BLD

    def shift(self, tokens: torch.Tensor, by: int) -> torch.Tensor:
        """See TokenRows."""
        return F.pad(tokens, (0, 0, by, 0))[:, : self.length]

    def attend(self, parts: tuple[torch.Tensor, ...], attention: Attention) -> torch.Tensor:
        """See TokenRows."""
        return attention(*parts)
