"""Train the two-tower retriever under torchrun and leave plain weights, their shape and the learning curve."""

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path

from components.shared.cluster.launching import launcher_for
from components.shared.config_fields import check_fields
from components.shared.errors import InputError
from components.shared.features.spec import FeatureSpec
from components.shared.models.encoders.config import EncoderConfig
from components.shared.models.retriever import RetrieverConfig, encoder_to_json
from components.shared.schema.sizes import Size
from components.shared.storage import atomic_directory
from components.shared.training.curve import summary
from components.shared.training.launch import Inputs, LaunchConfig, Launcher, WorkerTask, check_shares, run_digest
from components.shared.training.optimizer import OptimizerConfig, check_optimizer
from components.train_retriever.batches import SamplingConfig
from components.train_retriever.job import RESULTS, files, metric, rows_files
from components.train_retriever.loss_json import check_loss, loss_to_json
from components.train_retriever.losses import LossConfig


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
    encoder: EncoderConfig | None = None
    """What reads the behaviour sequence in its order; None: it is only summed up."""
    loss: LossConfig | None = None
    """What it learns by; None: softmax over the batch's targets with log-Q."""
    patience: int = 2
    """Epochs without a better validation metric before training ends."""
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    """Rule, learning rates, number format, sharding and seed."""
    launch: LaunchConfig = dataclasses.field(default_factory=LaunchConfig)
    """Where workers run, how many, and restarts."""
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


def train(
    features: Path,
    out: Path,
    config: RetrieverTraining,
    checkpoints: Path | None = None,
    launcher: Launcher | None = None,
) -> dict[str, float]:
    """Write config.json, weights.safetensors and curve.json of the epoch with the best validation metric.

    Args:
        features: Output of build_features.
        out: Folder to write.
        config: How to train.
        checkpoints: A lasting folder, so that a retried step resumes and cleans up after itself; by default they go
            with the run. A TrainJob keeps them in its exchange instead.
        launcher: Runs the workers; by default what `config.launch` names.

    Returns:
        Best validation recall@20 (of ratings: R²), its epoch, and the last loss.

    Raises:
        InputError: the processes cannot share a batch out evenly, a setting of encoder, loss, optimizer or launch
            cannot be used, the encoder does not fit the features, or the loss needs ratings and they have none.
        TrainingError: the workers failed more often than they may, or no epoch was validated.
        ClusterError: the cluster refused the TrainJob or cannot be reached.
    """
    check_training(config)
    # The worker makes the same towers; whether the encoder fits them is known here already.
    spec = FeatureSpec.read(features / "spec.json")
    RetrieverConfig.from_spec(spec, config.embedding_dim, config.hidden_dim, config.encoder)
    _check_rows(features, config)
    task = _task(features, config)
    with atomic_directory(out) as folder:
        work = checkpoints / task.digest if checkpoints else folder / "work"
        work.mkdir(parents=True, exist_ok=True)
        (launcher or launcher_for(config.launch)).run(task, work)
        for name in RESULTS:
            shutil.copyfile(work / name, folder / name)
        shutil.rmtree(work)
    return summary(out, metric(loss_to_json(config.loss)))


def check_training(config: RetrieverTraining) -> None:
    """Refuse what cannot be trained on any features.

    Raises:
        InputError: as `train` says.
    """
    check_shares(config.sampling.batch_size, config.launch.processes, "rows", config.launch.nodes)
    check_loss(config.loss)
    check_optimizer(config.optimizer)
    if config.encoder is not None:
        check_fields(config.encoder, "encoder")


def _check_rows(features: Path, config: RetrieverTraining) -> None:
    missing = [name for name in rows_files(loss_to_json(config.loss)) if not (features / name).exists()]
    if missing:
        raise InputError(
            f"loss: {type(config.loss).__name__} needs ratings; these features have no {' and no '.join(missing)}",
            "map the column that holds them to 'rating' and build the features again, or leave the loss out",
        )


def _task(features: Path, config: RetrieverTraining) -> WorkerTask:
    settings = {name: value for name, value in dataclasses.asdict(config).items() if name != "launch"}
    loop = {name: settings[name] for name in ("epochs", "patience", "checkpoint_every")}
    loop["schedule"] = config.optimizer.schedule
    settings["encoder"], settings["loss"] = encoder_to_json(config.encoder), loss_to_json(config.loss)
    names = ("embedding_dim", "hidden_dim", "encoder", "loss", "sampling", "optimizer")
    job = {name: settings[name] for name in names}
    read = files(settings["loss"])
    return WorkerTask(
        stage="train_retriever", module="components.train_retriever.worker", settings={**job, "loop": loop},
        digest=run_digest(settings, [features / name for name in read]),
        inputs={"features": Inputs(folder=features, files=read)}, results=RESULTS,
    )  # fmt: skip
