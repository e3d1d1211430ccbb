"""Train the two-tower retriever under torchrun and leave plain weights, their shape and the learning curve."""

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path

from components.shared.sizes import Size
from components.shared.storage import atomic_directory
from components.shared.training.curve import summary
from components.shared.training.launch import LaunchConfig, check_shares, lasting_folder, torchrun
from components.shared.training.optimizer import OptimizerConfig
from components.train_retriever.batches import SamplingConfig
from components.train_retriever.job import METRIC, WorkerJob


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
        checkpoints: A lasting folder, so that a retried step resumes and cleans up after itself; by default they go
            with the run.

    Returns:
        Best validation recall@20, its epoch, and the last loss.

    Raises:
        InputError: the processes cannot share a batch out evenly.
        TrainingError: the workers failed more often than `config.launch.max_restarts`, or no epoch was validated.
    """
    check_shares(config.sampling.batch_size, config.launch.processes, "rows")
    with atomic_directory(out) as folder:
        work = _lasting(checkpoints, features, config) if checkpoints else folder / "work"
        work.mkdir(parents=True, exist_ok=True)
        job = WorkerJob(
            features=str(features), folder=str(work), embedding_dim=config.embedding_dim,
            hidden_dim=config.hidden_dim, sampling=dataclasses.asdict(config.sampling),
            optimizer=dataclasses.asdict(config.optimizer),
            loop={"epochs": config.epochs, "patience": config.patience, "checkpoint_every": config.checkpoint_every},
        )  # fmt: skip
        torchrun("components.train_retriever.worker", dataclasses.asdict(job), work, config.launch)
        for name in ("config.json", "weights.safetensors", "curve.json"):
            shutil.copyfile(work / name, folder / name)
        shutil.rmtree(work)
    return summary(out, METRIC)


def _lasting(checkpoints: Path, features: Path, config: RetrieverTraining) -> Path:
    settings = {name: value for name, value in dataclasses.asdict(config).items() if name != "launch"}
    names = ("spec.json", "items.parquet", "rows/retriever.parquet", "rows/validation.parquet")
    return lasting_folder(checkpoints, settings, [features / name for name in names])
