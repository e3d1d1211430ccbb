"""What a worker of the retriever's training is told, as JSON; apart from torch, which only workers import."""

from dataclasses import dataclass

METRIC = "validation_recall_at_20"
"""Name of the validation metric in curve.json."""


FILES = ("spec.json", "items.parquet", "rows/retriever.parquet", "rows/validation.parquet")
"""What a worker reads of the features."""

RESULTS = ("config.json", "weights.safetensors", "trained_rows.safetensors", "curve.json")
"""What it leaves."""


@dataclass(frozen=True, kw_only=True)
class WorkerJob:
    """What a worker is told, as JSON."""

    features: str
    """Folder with the files of build_features that FILES names: a path, or an s3:// URI."""
    folder: str
    """Folder that receives checkpoints/, best/ and RESULTS: a path that all ranks see, or an s3:// URI."""
    embedding_dim: int
    """Width of embeddings and vectors."""
    hidden_dim: int
    """Width of the hidden layers."""
    encoder: dict | None = None
    """The sequence encoder as encoder_to_json gives it; None: none."""
    loss: dict | None = None
    """The loss as loss_to_json gives it; None: softmax over the batch's targets with log-Q."""
    sampling: dict
    """Fields of SamplingConfig."""
    optimizer: dict
    """Fields of OptimizerConfig."""
    loop: dict
    """epochs, patience, checkpoint_every and schedule of LoopConfig."""
