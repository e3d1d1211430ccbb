"""The job of a ranker training worker, as JSON; does not import torch."""

from dataclasses import dataclass

from components.shared.training.curve import REFIT

METRIC = "validation_ndcg_at_10"
"""Name of the validation metric in curve.json: NDCG@10 of the candidates ranked by probability, averaged over shoppers
with a wanted candidate."""

FILES = ("spec.json", "items.parquet")
"""Feature files that a worker reads."""

CONFIG = "config.json"
"""File of the RankerConfig in the folder of pairs."""

VALIDATION = "validation.parquet"
"""Pairs of the validation window, with observed labels."""

SOFT_VALIDATION = "validation-learned.parquet"
"""Pairs of the validation window with a teacher's soft labels, for a refit; absent without a teacher."""

RESULTS = ("weights.safetensors", "trained_rows.safetensors", "curve.json", REFIT)
"""Files that a worker writes."""


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
    """Name of the pairs file that a refit uses in addition to the training files, after validation has determined the
    best number of epochs; empty: no refit, and the best epoch's weights are final."""
    folder: str
    """Folder that receives checkpoints/, best/, refit/ and RESULTS: a path that all ranks see, or an s3:// URI."""
    options: dict
    """RankerOptions as JSON values."""
