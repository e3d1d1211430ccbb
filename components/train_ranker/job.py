"""What a worker of the ranker's training is told, as JSON; apart from torch, which only workers import."""

from dataclasses import dataclass

METRIC = "validation_auc"
"""Name of the validation metric in curve.json: mean over the tasks of the area under the ROC curve."""


@dataclass(frozen=True, kw_only=True)
class WorkerJob:
    """What a worker is told, as JSON."""

    features: str
    """Feature folder of build_features."""
    config: str
    """RankerConfig as JSON file."""
    pairs: list[str]
    """Training pairs files."""
    validation_pairs: str
    """Validation pairs file."""
    folder: str
    """Folder that receives checkpoints/, best/ and curve.json."""
    batch_shoppers: int
    """Shoppers of a global batch, each with all of its pairs."""
    id_dropout: float
    """Share of ids replaced by the unknown bucket."""
    optimizer: dict
    """Fields of OptimizerConfig."""
    loop: dict
    """epochs, patience and checkpoint_every of LoopConfig."""
