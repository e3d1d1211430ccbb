"""The job of a ranker training worker, as JSON; does not import torch."""

from dataclasses import dataclass

from components.shared.training.curve import REFIT

METRIC = "validation_ndcg_at_10"
"""Name of the validation metric in curve.json: of each shopper's candidates by probability, the mean over those who
wanted one."""

FILES = ("spec.json", "items.parquet")
"""What a worker reads of the features."""

CONFIG = "config.json"
"""RankerConfig, among the pairs."""

VALIDATION = "validation.parquet"
"""Pairs of the validation window, with what really happened."""

LEARNED = "validation-learned.parquet"
"""The same as a refit learns them, where that differs: with a teacher's soft labels."""

RESULTS = ("weights.safetensors", "trained_rows.safetensors", "curve.json", REFIT)
"""What a worker leaves."""


@dataclass(frozen=True, kw_only=True)
class WorkerJob:
    """A worker's job, as JSON."""

    features: str
    """Folder with the files of build_features that FILES names: a path, or an s3:// URI."""
    pairs: str
    """Folder with CONFIG and the pairs files: a path, or an s3:// URI."""
    training: list[str]
    """Names of the training pairs files."""
    validation: str
    """Name of the validation pairs file."""
    refit: str
    """Name of the pairs file that the final training learns beside the training ones, once validation has shown how
    many epochs are best; empty: there is none, and the best epoch's weights are final."""
    folder: str
    """Folder that receives checkpoints/, best/, refit/ and RESULTS: a path that all ranks see, or an s3:// URI."""
    options: dict
    """RankerOptions as JSON values."""
