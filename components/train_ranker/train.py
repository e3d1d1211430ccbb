"""Train the multi-task ranker: write candidate pairs, train on them under torchrun, write weights and curves."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from components.shared.cluster.launching import launcher_for
from components.shared.errors import DataError, InputError
from components.shared.features.spec import FeatureSpec
from components.shared.models.ranker import RankerConfig, ranker_tasks
from components.shared.progress import report
from components.shared.schema.timeline import Timeline
from components.shared.storage import atomic_directory, write_json
from components.shared.training.curve import summary
from components.shared.training.launch import Inputs, Launcher, WorkerTask, run_digest
from components.train_ranker.config import RankerTraining
from components.train_ranker.examples import write_pairs
from components.train_ranker.job import CONFIG, FILES, METRIC, RESULTS, SOFT_VALIDATION, VALIDATION
from components.train_ranker.shown import ShownPositions, read_shown_positions
from components.train_ranker.totals import Totals


def train(
    features: Path,
    retriever: Path,
    out: Path,
    config: RankerTraining,
    checkpoints: Path | None = None,
    launcher: Launcher | None = None,
    pairs: Path | None = None,
) -> dict[str, float]:
    """Write config.json, candidates.json, weights.safetensors, curve.json and refit.json.

    The weights are those of the epoch with the best validation NDCG or, with `config.refit`, those of a second training
    with as many epochs on all windows. curve.json belongs to the first training, refit.json to the second.

    Args:
        features: Output of build_features.
        retriever: Output of train_retriever.
        out: Folder to write.
        config: Options of the training.
        checkpoints: Persistent folder, so that a retried step can resume; cleaned up at the end. By default checkpoints
            are deleted with the run. A TrainJob keeps them in its exchange folder instead.
        launcher: Runs the workers; default: the launcher selected by `config.launch`.
        pairs: Output of `write_all_pairs` for the same inputs and candidates; by default new pairs are written. Their
            contents are part of the digest that selects the run to resume in `checkpoints`.

    Returns:
        Best validation NDCG@10, its epoch, and the last loss.

    Raises:
        InputError: the processes cannot divide a batch evenly or outnumber the shoppers, positions are learned without
            a log, or a log is given without learning positions.
        DataError: no candidate has a positive label, or the log does not match the data.
        TrainingError: the workers failed more often than allowed.
        ClusterError: the cluster refused the TrainJob or cannot be reached.
    """
    config.check(positions_known=pairs is not None)
    spec = FeatureSpec.read(features / "spec.json")
    log = config.inference_log
    names, shown = _pair_files(features), read_shown_positions(features, Path(log)) if log else {}
    if pairs is not None and (pairs / SOFT_VALIDATION).exists():
        names.append(SOFT_VALIDATION)
    with atomic_directory(out) as folder:
        digest = training_digest(features, retriever, config, shown, [pairs / name for name in names] if pairs else [])
        work = checkpoints / digest if checkpoints else folder / "work"
        work.mkdir(parents=True, exist_ok=True)
        if pairs is None:
            _write_pairs(features, retriever, work, config, shown)
        else:
            _link(names, pairs, work)
        _model_config(spec, [work / name for name in names[: names.index(VALIDATION)]], config).write(work / CONFIG)
        task = _task(features, work, names, digest, config)
        (launcher or launcher_for(config.launch)).run(task, work)
        write_json(folder / "candidates.json", config.candidates.to_json())
        for name in (CONFIG, *RESULTS):
            shutil.copyfile(work / name, folder / name)
        shutil.rmtree(work)
    found = summary(out, METRIC)
    report("train_ranker", 1.0, f"epoch {found['best_epoch']} {METRIC} {found[METRIC]:.4f}{', refit' * config.refit}")
    return found


def write_all_pairs(features: Path, retriever: Path, out: Path, config: RankerTraining) -> None:
    """Write the candidate pairs of every training snapshot and of validation, to share them among trainings."""
    with atomic_directory(out) as folder:
        _write_pairs(features, retriever, folder, config, {})


def _write_pairs(
    features: Path, retriever: Path, folder: Path, config: RankerTraining, shown: dict[str, ShownPositions]
) -> None:
    for name in _pair_files(features):
        snapshot = name.removesuffix(".parquet")
        anonymous = 0.0 if name == VALIDATION else config.anonymous_share
        write_pairs(features, retriever, snapshot, folder / name, config.candidates, shown=shown.get(snapshot),
                    anonymous=anonymous)  # fmt: skip


def _link(names: list[str], pairs: Path, work: Path) -> None:
    for name in names:
        (work / name).unlink(missing_ok=True)  # a retried step finds the links of its first attempt
        (work / name).symlink_to(pairs.resolve() / name)


def _pair_files(features: Path) -> list[str]:
    """Return the names of the pairs files: training snapshots, oldest first, then validation."""
    snapshots = [
        name for name in Timeline.read(features / "timeline.json").reference_times() if name.startswith("ranker")
    ]
    return [*(f"{snapshot}.parquet" for snapshot in snapshots), VALIDATION]


def training_digest(
    features: Path, retriever: Path, config: RankerTraining, shown: Mapping[str, ShownPositions] = MappingProxyType({}),
    pairs: Sequence[Path] = (),
) -> str:  # fmt: skip
    """See run_digest; `pairs` are those passed by the caller, since generated pairs follow from the other inputs."""
    settings = config.digest_settings
    settings["shown"] = {name: one.digest for name, one in shown.items()}
    rows = sorted((features / "rows").glob("*.parquet"))
    weights = retriever / "weights.safetensors"
    return run_digest(settings, [features / "spec.json", features / "items.parquet", *rows, weights, *pairs])


def _task(features: Path, pairs: Path, names: list[str], digest: str, config: RankerTraining) -> WorkerTask:
    settings = {
        "training": names[: names.index(VALIDATION)], "validation": VALIDATION,
        "refit": names[-1] if config.refit else "", "options": config.digest_settings,
    }  # fmt: skip
    return WorkerTask(
        stage="train_ranker", module="components.train_ranker.worker", settings=settings, digest=digest,
        inputs={"features": Inputs(folder=features, files=FILES),
                "pairs": Inputs(folder=pairs, files=(CONFIG, *names))},
        results=RESULTS,
    )  # fmt: skip


def _model_config(spec: FeatureSpec, files: list[Path], config: RankerTraining) -> RankerConfig:
    """Return the ranker's shape, with the normalisation of its dense inputs over the training pairs."""
    totals = Totals.read(files)
    if totals.shoppers < config.launch.workers:
        raise InputError(
            f"processes is {config.launch.workers}, but there are {totals.shoppers} shoppers to train on",
            "use fewer processes, or data of more shoppers",
        )
    if not totals.wanted:
        raise DataError(
            f"none of {totals.dense.count:,} candidate pairs was followed by a '{spec.target_event}'",
            "give data of more shoppers or a longer period, or raise the number of candidates",
        )
    std = totals.dense.std
    return RankerConfig(
        user_features=spec.user_features[:-1], item_features=spec.item_features, tasks=ranker_tasks(spec),
        dense_mean=tuple(totals.dense.mean.tolist()),
        dense_std=tuple(np.where(std > 1e-6, std, 1.0).tolist()),
        embedding_dim=config.embedding_dim, hidden_dim=config.hidden_dim, architecture=config.architecture,
    )  # fmt: skip
