"""What a worker of the retriever's training is told, as JSON; apart from torch, which only workers import."""

from dataclasses import dataclass

from components.shared.features.rows import RATINGS

METRIC = "validation_recall_at_20"
"""Name of the validation metric in curve.json: see validation.mean_recall."""

RATING_R2 = "validation_rating_r2"
"""The same where ratings are learned: see validation.rating_r2."""


def learns_ratings(loss: dict | None) -> bool:
    """Whether a loss, as loss_to_json gives it, learns from rated visits."""
    return loss is not None and loss["kind"] == "Mse"


def metric(loss: dict | None) -> str:
    """Name of the validation metric in curve.json."""
    return RATING_R2 if learns_ratings(loss) else METRIC


def rows_files(loss: dict | None) -> tuple[str, str]:
    """Rows that it learns from and is validated on; paths in the features."""
    if learns_ratings(loss):
        return f"rows/{RATINGS}.parquet", f"rows/{RATINGS}-validation.parquet"
    return "rows/retriever.parquet", "rows/validation.parquet"


def files(loss: dict | None) -> tuple[str, ...]:
    """What a worker reads of the features."""
    return "spec.json", "items.parquet", *rows_files(loss)


RESULTS = ("config.json", "weights.safetensors", "trained_rows.safetensors", "curve.json")
"""What it leaves."""


@dataclass(frozen=True, kw_only=True)
class WorkerJob:
    """What a worker is told, as JSON."""

    features: str
    """Folder with the files of build_features that `files` names: a path, or an s3:// URI."""
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
