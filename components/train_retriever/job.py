"""The job of a retriever training worker, as JSON; does not import torch."""

from dataclasses import dataclass

from components.shared.features.rows import RATINGS
from components.train_retriever.config import RetrieverOptions

METRIC = "validation_recall_at_20"
"""Name of the validation metric in curve.json: see validation.mean_recall."""

RATING_R2 = "validation_rating_r2"
"""Name of the validation metric if ratings are learned: see validation.rating_r2."""


def metric(config: RetrieverOptions) -> str:
    """Return the name of the validation metric in curve.json."""
    return RATING_R2 if config.learns_ratings else METRIC


def rows_files(config: RetrieverOptions) -> tuple[str, str]:
    """Return the files of training and validation rows, relative to the feature folder."""
    if config.learns_ratings:
        return f"rows/{RATINGS}.parquet", f"rows/{RATINGS}-validation.parquet"
    return "rows/retriever.parquet", "rows/validation.parquet"


def files(config: RetrieverOptions) -> tuple[str, ...]:
    """Return the feature files that a worker reads."""
    return "spec.json", "items.parquet", *rows_files(config)


RESULTS = ("config.json", "weights.safetensors", "trained_rows.safetensors", "curve.json")
"""Files that a worker writes."""


@dataclass(frozen=True, kw_only=True)
class WorkerJob:
    """A worker's job, as JSON."""

    features: str
    """Folder with the files of build_features that `files` names: a path, or an s3:// URI."""
    folder: str
    """Folder that receives checkpoints/, best/ and RESULTS: a path that all ranks see, or an s3:// URI."""
    training: dict
    """RetrieverOptions as JSON values."""
