"""What a worker of the retriever's training is told, as JSON; apart from torch, which only workers import."""

from dataclasses import dataclass

METRIC = "validation_recall_at_20"
"""Name of the validation metric in curve.json."""


@dataclass(frozen=True, kw_only=True)
class WorkerJob:
    """What a worker is told, as JSON."""

    features: str
    """Feature folder of build_features."""
    folder: str
    """Folder that receives checkpoints/, best/ and curve.json."""
    embedding_dim: int
    """Width of embeddings and vectors."""
    hidden_dim: int
    """Width of the hidden layers."""
    sampling: dict
    """Fields of SamplingConfig."""
    optimizer: dict
    """Fields of OptimizerConfig."""
    loop: dict
    """epochs, patience and checkpoint_every of LoopConfig."""
