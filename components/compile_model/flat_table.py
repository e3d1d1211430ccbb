"""Embedding tables stacked into one table in a compact format: fp32, fp16, or integers with scale and minimum per row.

Untrained rows only contain their random initial values; they may be dropped and replaced by the unknown row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from components.compile_model.config import TableFormat
from components.shared.features.spec import SparseFeature

_LEVELS = {"int8": 255.0, "int4": 15.0}
_MAP_ENTRY_BYTES = 4


@dataclass(frozen=True)
class SparseTables:
    """Tables of one side of a model.

    Attributes:
        weights: float32 [rows, D] each. features: feature of each. trained: bool [rows] each; None: all.
    """

    weights: Sequence[torch.Tensor]
    features: tuple[SparseFeature, ...]
    trained: Sequence[torch.Tensor | None]


class FlatTable(nn.Module):
    """All tables of one side of a model as one.

    Attributes:
        pruned: number of dropped rows.
    """

    column_start: torch.Tensor
    rows: torch.Tensor
    scale: torch.Tensor
    low: torch.Tensor
    row_map: torch.Tensor

    def __init__(self, tables: SparseTables, form: TableFormat):
        super().__init__()
        self.lengths = [feature.max_length for feature in tables.features]
        starts = torch.cumsum(torch.tensor([0, *(len(table) for table in tables.weights[:-1])]), 0)
        self.register_buffer("column_start", torch.repeat_interleave(starts, torch.tensor(self.lengths))[None])
        joined = torch.cat(list(tables.weights)).detach()
        self.dim, self.storage, self.pruned = joined.shape[1], form.storage, 0
        keep = _kept(tables)
        dropped = int((~keep).sum())
        self.has_map = form.prune and dropped * form.row_bytes(self.dim) > len(keep) * _MAP_ENTRY_BYTES
        if self.has_map:
            self.pruned = dropped
            self.register_buffer("row_map", _row_map(keep, starts, [len(table) for table in tables.weights]))
            joined = joined[keep]
        self._store(joined)

    def _store(self, joined: torch.Tensor) -> None:
        if self.storage not in _LEVELS:
            self.register_buffer("rows", joined.half() if self.storage == "fp16" else joined)
            return
        low, high = joined.aminmax(dim=1, keepdim=True)
        scale = ((high - low) / _LEVELS[self.storage]).clamp_min(1e-7)
        if self.storage == "int4":
            low, scale = low.half(), scale.half().clamp_min(1e-7)
        levels = ((joined - low.float()) / scale.float()).round().clamp(0, _LEVELS[self.storage]).to(torch.uint8)
        if self.storage == "int4":
            even = nn.functional.pad(levels, (0, self.dim % 2))
            levels = even[:, 0::2] * 16 + even[:, 1::2]
        self.register_buffer("rows", levels)
        self.register_buffer("scale", scale)
        self.register_buffer("low", low)

    def rows_of(self, ids_BW: torch.Tensor) -> torch.Tensor:
        """Return the row of each id, [B, W, D]."""
        flat = (ids_BW + self.column_start).reshape(-1)
        if self.has_map:
            flat = self.row_map.index_select(0, flat)
        found = self.rows.index_select(0, flat).float()
        if self.storage == "int4":
            high = torch.floor(found / 16.0)
            found = torch.stack([high, found - 16.0 * high], 2).flatten(1)[:, : self.dim]
        if self.storage in _LEVELS:
            found = found * self.scale.index_select(0, flat).float() + self.low.index_select(0, flat).float()
        return found.reshape(ids_BW.shape[0], -1, self.dim)

    def forward(self, ids_BW: torch.Tensor, weights_BW: torch.Tensor) -> torch.Tensor:
        """Return the weighted sums of each feature's rows, concatenated, [B, features * D]."""
        found = self.rows_of(ids_BW) * weights_BW[..., None]
        return torch.cat([part.sum(1) for part in found.split(self.lengths, 1)], 1)


def _kept(tables: SparseTables) -> torch.Tensor:
    """Return which rows to store, bool [rows of all tables]; always includes the unknown row of every table."""
    parts = []
    for table, trained in zip(tables.weights, tables.trained, strict=True):
        keep = torch.ones(len(table), dtype=torch.bool) if trained is None else trained.bool().clone()
        keep[0] = True
        parts.append(keep)
    return torch.cat(parts)


def _row_map(keep: torch.Tensor, starts: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    """Return the stored row of every row, int32; dropped rows map to the unknown row of their table."""
    position = torch.cumsum(keep, 0) - 1
    unknown = torch.repeat_interleave(position[starts], torch.tensor(lengths))
    return torch.where(keep, position, unknown).to(torch.int32)
