"""The job of a retriever training worker, as JSON; does not import torch."""

from dataclasses import dataclass

from components.shared.features.rows import RATINGS
from components.train_retriever.config import RetrieverOptions

METRIC = "validation_recall_at_20"
"""Name of the validation metric in curve.json: see validation.mean_recall."""

RATING_R2 = "validation_rating_r2"
"""The same where ratings are learned: see validation.rating_r2."""


def metric(config: RetrieverOptions) -> str:
    """Name of the validation metric in curve.json."""
    return RATING_R2 if config.learns_ratings else METRIC


def rows_files(config: RetrieverOptions) -> tuple[str, str]:
    """Rows that it learns from and is validated on; paths in the features."""
    if config.learns_ratings:
        return f"rows/{RATINGS}.parquet", f"rows/{RATINGS}-validation.parquet"
    return "rows/retriever.parquet", "rows/validation.parquet"


def files(config: RetrieverOptions) -> tuple[str, ...]:
    """What a worker reads of the features."""
    return "spec.json", "items.parquet", *rows_files(config)


RESULTS = ("config.json", "weights.safetensors", "trained_rows.safetensors", "curve.json")
"""What it leaves."""


@dataclass(frozen=True, kw_only=True)
class WorkerJob:
    """A worker's job, as JSON."""

    features: str
    """Folder with the files of build_features that `files` names: a path, or an s3:// URI."""
    folder: str
    """Folder that receives checkpoints/, best/ and RESULTS: a path that all ranks see, or an s3:// URI."""
    training: dict
    """RetrieverOptions as JSON values."""
