"""Train the two-tower retriever under torchrun and leave plain weights, their shape and the learning curve."""

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from components.shared.feature_spec import FeatureSpec
from components.shared.models.retriever import Retriever, RetrieverConfig
from components.shared.sizes import Size
from components.shared.storage import atomic_directory, read_json
from components.shared.training.checkpoint import export_weights
from components.shared.training.launch import LaunchConfig, torchrun
from components.shared.training.loop import best_point
from components.shared.training.sharding import OptimizerConfig
from components.train_retriever.batches import SamplingConfig
from components.train_retriever.worker import METRIC, WorkerJob


@dataclass(frozen=True, kw_only=True)
class RetrieverTraining:
    """Everything that decides how the retriever is trained."""

    sampling: SamplingConfig
    """Batches, negatives, dropout."""
    embedding_dim: int
    """Width of embeddings and vectors."""
    hidden_dim: int
    """Width of the hidden layers."""
    epochs: int
    """Upper limit of passes over the rows."""
    patience: int = 2
    """Epochs without a better validation recall before training ends."""
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    """Learning rates and seed."""
    launch: LaunchConfig = dataclasses.field(default_factory=LaunchConfig)
    """Processes and restarts."""
    checkpoint_every: int = 200
    """Steps between checkpoints."""

    @classmethod
    def from_size(cls, size: Size, seed: int, processes: int) -> "RetrieverTraining":
        """What the dial says."""
        return cls(
            sampling=SamplingConfig(batch_size=size.batch_size, seed=seed), embedding_dim=size.embedding_dim,
            hidden_dim=size.hidden_dim, epochs=size.retriever_epochs, optimizer=OptimizerConfig(seed=seed),
            launch=LaunchConfig(processes=processes),
        )  # fmt: skip


def train(features: Path, out: Path, config: RetrieverTraining, checkpoints: Path | None = None) -> dict[str, float]:
    """Write config.json, weights.safetensors and curve.json of the epoch with the best validation recall.

    Args:
        features: Output of build_features.
        out: Folder to write.
        config: How to train.
        checkpoints: A lasting folder, so that a retried step resumes; by default they go with the run.

    Returns:
        Best validation recall@20, its epoch, and the last loss.

    Raises:
        TrainingError: the workers failed more often than `config.launch.max_restarts`, or no epoch was validated.
    """
    with atomic_directory(out) as folder:
        work = checkpoints or folder / "work"
        work.mkdir(parents=True, exist_ok=True)
        job = WorkerJob(
            features=str(features), folder=str(work), embedding_dim=config.embedding_dim,
            hidden_dim=config.hidden_dim, sampling=dataclasses.asdict(config.sampling), optimizer=dataclasses.asdict(config.optimizer),
            loop={"epochs": config.epochs, "patience": config.patience, "checkpoint_every": config.checkpoint_every},
        )  # fmt: skip
        torchrun("components.train_retriever.worker", dataclasses.asdict(job), work, config.launch)
        model_config = RetrieverConfig.from_spec(
            FeatureSpec.read(features / "spec.json"), config.embedding_dim, config.hidden_dim
        )
        model_config.write(folder / "config.json")
        export_weights(Retriever(model_config, torch.device("cpu")), work, folder)
        shutil.copy(work / "curve.json", folder / "curve.json")
        shutil.rmtree(folder / "work", ignore_errors=True)
    return summary(out)


def summary(model: Path) -> dict[str, float]:
    """Best validation recall@20, the epoch that reached it (from 1), and the last training loss."""
    curve = read_json(model / "curve.json")
    best = best_point(curve, METRIC)
    return {METRIC: best[METRIC], "best_epoch": best["epoch"], "last_loss": curve[-1]["loss"]}
