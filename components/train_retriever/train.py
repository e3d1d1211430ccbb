"""Train the two-tower retriever under torchrun and write plain weights, their shape and the learning curve."""

import shutil
from pathlib import Path

from components.shared.cluster.launching import launcher_for
from components.shared.errors import InputError
from components.shared.features.spec import FeatureSpec
from components.shared.models.retriever import RetrieverConfig
from components.shared.storage import atomic_directory
from components.shared.training.curve import summary
from components.shared.training.launch import Inputs, Launcher, WorkerTask, run_digest
from components.train_retriever.config import RetrieverTraining
from components.train_retriever.job import RESULTS, files, metric, rows_files


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
        config: Options of the training.
        checkpoints: Persistent folder, so that a retried step can resume; cleaned up at the end. By default checkpoints
            are deleted with the run. A TrainJob keeps them in its exchange folder instead.
        launcher: Runs the workers; default: the launcher selected by `config.launch`.

    Returns:
        Best validation recall@20 (of ratings: R²), its epoch, and the last loss.

    Raises:
        InputError: the processes cannot divide a batch evenly, the encoder does not fit the features, or the loss
            needs ratings and the features have none.
        TrainingError: the workers failed more often than allowed, or no epoch was validated.
        ClusterError: the cluster refused the TrainJob or cannot be reached.
    """
    config.check()
    # The worker builds the same towers; this checks before the launch that the encoder fits them.
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
    return summary(out, metric(config))


def _check_rows(features: Path, config: RetrieverTraining) -> None:
    missing = [name for name in rows_files(config) if not (features / name).exists()]
    if missing:
        raise InputError(
            f"retriever.loss is mse, which needs ratings; these features have no {' and no '.join(missing)}",
            "map the column that holds them to 'rating' and build the features again, or leave the loss out",
        )


def _task(features: Path, config: RetrieverTraining) -> WorkerTask:
    settings, read = config.digest_settings, files(config)
    return WorkerTask(
        stage="train_retriever", module="components.train_retriever.worker", settings={"training": settings},
        digest=run_digest(settings, [features / name for name in read]),
        inputs={"features": Inputs(folder=features, files=read)}, results=RESULTS,
    )  # fmt: skip
