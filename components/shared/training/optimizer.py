"""Learning rates, number format and seed, apart from torch so that whoever launches a worker need not import it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Sharding = Literal[
    "table_wise", "row_wise", "column_wise", "table_column_wise", "table_row_wise", "grid_shard", "data_parallel"
]
"""TorchRec's ways to lay a table out over ranks (torchrec.distributed.types.ShardingType)."""


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Learning rates, number format and the seed of the initial weights."""

    embedding_lr: float = 0.05
    """Row-wise Adagrad on embedding rows, fused into the backward pass."""
    dense_lr: float = 1e-3
    """Adam on the towers."""
    precision: str = "float32"
    """Of the dense layers' matrix products; see precision.py."""
    sharding: Sequence[Sharding] = ("table_wise",)
    """Which the planner may choose from for each table; see `distribute` in sharding.py for what they change."""
    seed: int = 0
    """Of the initial weights and of every sampled batch."""
