"""Learning rates, number format and seed, apart from torch so that whoever launches a worker need not import it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Learning rates, number format and the seed of the initial weights."""

    embedding_lr: float = 0.05
    """Row-wise Adagrad on embedding rows, fused into the backward pass."""
    dense_lr: float = 1e-3
    """Adam on the towers."""
    precision: str = "float32"
    """Of the dense layers' matrix products; see precision.py."""
    seed: int = 0
    """Of the initial weights and of every sampled batch."""
