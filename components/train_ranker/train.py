"""Train the multi-task ranker: write candidate pairs, run torchrun over them, leave plain weights and the curve."""

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from components.shared.cluster.launching import launcher_for
from components.shared.config_fields import check_fields
from components.shared.errors import DataError, InputError
from components.shared.features.spec import FeatureSpec
from components.shared.models.ranker import RankerArchitecture, RankerConfig, ranker_tasks
from components.shared.progress import report
from components.shared.recommender.candidates import CandidateConfig
from components.shared.schema.sizes import Size
from components.shared.schema.timeline import Timeline
from components.shared.storage import atomic_directory, write_json
from components.shared.training.curve import summary
from components.shared.training.launch import Inputs, LaunchConfig, Launcher, WorkerTask, check_shares, run_digest
from components.shared.training.optimizer import OptimizerConfig, check_optimizer
from components.train_ranker.examples import write_pairs
from components.train_ranker.job import CONFIG, FILES, LEARNED, METRIC, RESULTS, VALIDATION
from components.train_ranker.shown import Shown, read_shown
from components.train_ranker.totals import Totals


@dataclass(frozen=True, kw_only=True)
class RankerTraining:
    """Everything that decides how the ranker is trained."""

    embedding_dim: int
    """Width of embedding rows."""
    hidden_dim: int
    """Width of the hidden layers."""
    epochs: int
    """Upper limit of passes over the pairs."""
    batch_shoppers: int
    """Shoppers of a global batch, each with all of its pairs."""
    candidates: CandidateConfig
    """How many candidates each source brings, in training and in serving."""
    strangers: float = 0.3
    """Share of the shoppers of whom a training window holds a copy without id and history: what is answered to somebody
    of whom nothing is known is learned from what all of them bought."""
    id_dropout: float = 0.3
    """Share of shopper ids replaced by the unknown bucket."""
    listwise: float = 0.05
    """Weight of the loss over each shopper's list beside the mean cross-entropy of pairs (losses.py); 0: none."""
    architecture: RankerArchitecture = dataclasses.field(default_factory=RankerArchitecture)
    """The layers behind the embeddings: interaction, task heads, target attention."""
    patience: int = 10
    """Epochs without a better validation NDCG@10 before training ends."""
    refit: bool = True
    """Whether, when validation has told how many epochs are best, the final model is trained anew that long on the
    validation window too: it is the newest that labels are known of, and the one most like the days to come."""
    optimizer: OptimizerConfig = dataclasses.field(
        default_factory=lambda: OptimizerConfig(embedding_lr=1e-4, dense_lr=1e-3, schedule="linear")
    )
    """Learning rates, their schedule, and seed."""
    launch: LaunchConfig = dataclasses.field(default_factory=LaunchConfig)
    """Where workers run, how many, and restarts."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    held_pairs: int = 15_000_000
    """More training pairs, or more validation pairs, than these are streamed and not held in memory, where each of them
    takes 172 bytes in every process."""

    @classmethod
    def from_size(cls, size: Size, seed: int, processes: int) -> "RankerTraining":
        """What the dial says."""
        return cls(
            embedding_dim=size.embedding_dim // 2, hidden_dim=size.hidden_dim, epochs=size.ranker_epochs,
            batch_shoppers=size.ranker_batch_shoppers,
            candidates=CandidateConfig(own=size.candidates, retrieved=size.candidates, similar=size.candidates),
            optimizer=OptimizerConfig(embedding_lr=1e-4, dense_lr=1e-3, schedule="linear", seed=seed),
            launch=LaunchConfig(processes=processes),
        )  # fmt: skip


def train(
    features: Path,
    retriever: Path,
    out: Path,
    config: RankerTraining,
    checkpoints: Path | None = None,
    launcher: Launcher | None = None,
    pairs: Path | None = None,
    log: Path | None = None,
) -> dict[str, float]:
    """Write config.json, candidates.json, weights.safetensors, curve.json and refit.json.

    The weights are those of the epoch with the best validation NDCG or, with `config.refit`, of a second training, as
    long, on all windows; curve.json is the first training's, refit.json the second's.

    Args:
        features: Output of build_features.
        retriever: Output of train_retriever.
        out: Folder to write.
        config: How to train.
        checkpoints: A lasting folder, so that a retried step resumes and cleans up after itself; by default they go
            with the run. A TrainJob keeps them in its exchange instead.
        launcher: Runs the workers; by default what `config.launch` names.
        pairs: What `write_all_pairs` wrote for the same inputs and candidates; by default they are written anew. Their
            contents decide which run in `checkpoints` is resumed.
        log: Folder of the inference log, for the places at which items were shown (shown.py); None: they are unknown.

    Returns:
        Best validation NDCG@10, its epoch, and the last loss.

    Raises:
        InputError: the processes cannot share a batch out evenly or outnumber the shoppers, a setting of architecture,
            optimizer or launch cannot be used, or the log cannot; or there are places without a log, or the reverse.
        DataError: no candidate was ever wanted, so there is nothing to learn, or nothing in the log belongs to it.
        TrainingError: the workers failed more often than they may.
        ClusterError: the cluster refused the TrainJob or cannot be reached.
    """
    check_training(config, log is not None or pairs is not None)
    check_log(config, log)
    spec = FeatureSpec.read(features / "spec.json")
    names, shown = _pair_files(features), read_shown(features, log) if log else {}
    if pairs is not None and (pairs / LEARNED).exists():
        names.append(LEARNED)
    with atomic_directory(out) as folder:
        digest = training_digest(features, retriever, config, shown, [pairs / name for name in names] if pairs else [])
        work = checkpoints / digest if checkpoints else folder / "work"
        work.mkdir(parents=True, exist_ok=True)
        if pairs is None:
            _write_pairs(features, retriever, work, config, shown)
        else:
            for name in names:
                (work / name).unlink(missing_ok=True)  # a retried step finds the links of its first try
                (work / name).symlink_to(pairs.resolve() / name)
        training = names[: names.index(VALIDATION)]
        _model_config(spec, [work / name for name in training], config).write(work / CONFIG)
        task = _task(features, work, names, digest, config)
        (launcher or launcher_for(config.launch)).run(task, work)
        write_json(folder / "candidates.json", dataclasses.asdict(config.candidates))
        for name in (CONFIG, *RESULTS):
            shutil.copyfile(work / name, folder / name)
        shutil.rmtree(work)
    found = summary(out, METRIC)
    report("train_ranker", 1.0, f"epoch {found['best_epoch']} {METRIC} {found[METRIC]:.4f}{', refit' * config.refit}")
    return found


def write_all_pairs(features: Path, retriever: Path, out: Path, config: RankerTraining) -> None:
    """Write the candidate pairs of every training moment and of validation, for several trainings over the same."""
    with atomic_directory(out) as folder:
        _write_pairs(features, retriever, folder, config, {})


def _write_pairs(
    features: Path, retriever: Path, folder: Path, config: RankerTraining, shown: dict[str, Shown]
) -> None:
    for name in _pair_files(features):
        moment = name.removesuffix(".parquet")
        strangers = 0.0 if name == VALIDATION else config.strangers
        write_pairs(features, retriever, moment, folder / name, config.candidates, shown=shown.get(moment),
                    strangers=strangers)  # fmt: skip


def check_training(config: RankerTraining, places_known: bool) -> None:
    """Refuse what cannot be trained on any features.

    Args:
        config: How to train.
        places_known: Whether a log, or pairs that were written beforehand, may say where shown items stood.

    Raises:
        InputError: as `train` says.
    """
    check_shares(config.batch_shoppers, config.launch.processes, "shoppers", config.launch.nodes)
    check_fields(config.architecture, "architecture")
    check_optimizer(config.optimizer)
    if config.architecture.places and not places_known:
        raise InputError(
            f"architecture: places is {config.architecture.places}, but nothing says at which places items were shown",
            "give inference_log, the folder of the predictors' logs, or an architecture with places 0",
        )


def check_log(config: RankerTraining, log: str | Path | None) -> None:
    """Refuse a log that would be without effect.

    Raises:
        InputError: there is one, and the architecture learns no places.
    """
    if log and not config.architecture.places:
        raise InputError(
            f"inference_log is {log}, but the architecture learns no places",
            'give the largest place to tell apart, such as architecture {"places": 10}, or no log',
        )


def _pair_files(features: Path) -> list[str]:
    """Names of the pairs files: the training moments, oldest first, then validation."""
    moments = [name for name in Timeline.read(features / "timeline.json").moments() if name.startswith("ranker")]
    return [*(f"{moment}.parquet" for moment in moments), VALIDATION]


def training_digest(
    features: Path, retriever: Path, config: RankerTraining, shown: Mapping[str, Shown] = MappingProxyType({}),
    pairs: Sequence[Path] = (),
) -> str:  # fmt: skip
    """See run_digest; `pairs` are those that were given, since written ones follow from the rest."""
    settings = {name: value for name, value in dataclasses.asdict(config).items() if name != "launch"}
    settings["architecture"] = config.architecture.to_json()
    settings["shown"] = {name: one.digest for name, one in shown.items()}
    rows = sorted((features / "rows").glob("*.parquet"))
    weights = retriever / "weights.safetensors"
    return run_digest(settings, [features / "spec.json", features / "items.parquet", *rows, weights, *pairs])


def _task(features: Path, pairs: Path, names: list[str], digest: str, config: RankerTraining) -> WorkerTask:
    loop = {"epochs": config.epochs, "patience": config.patience, "checkpoint_every": config.checkpoint_every,
            "schedule": config.optimizer.schedule}  # fmt: skip
    settings = {
        "training": names[: names.index(VALIDATION)], "validation": VALIDATION,
        "refit": names[-1] if config.refit else "", "batch_shoppers": config.batch_shoppers,
        "held_pairs": config.held_pairs, "id_dropout": config.id_dropout, "listwise": config.listwise,
        "optimizer": dataclasses.asdict(config.optimizer), "loop": loop,
    }  # fmt: skip
    return WorkerTask(
        stage="train_ranker", module="components.train_ranker.worker", settings=settings, digest=digest,
        inputs={"features": Inputs(folder=features, files=FILES),
                "pairs": Inputs(folder=pairs, files=(CONFIG, *names))},
        results=RESULTS,
    )  # fmt: skip


def _model_config(spec: FeatureSpec, files: list[Path], config: RankerTraining) -> RankerConfig:
    """The ranker's shape, with its dense inputs normalised by the training pairs."""
    totals = Totals.read(files)
    if totals.shoppers < config.launch.workers:
        raise InputError(
            f"processes is {config.launch.workers}, but there are {totals.shoppers} shoppers to learn from",
            "use fewer processes, or events of more shoppers",
        )
    if not totals.wanted:
        raise DataError(
            f"none of {totals.dense.count:,} candidate pairs was followed by a '{spec.target_event}'",
            "give events of more shoppers or of a longer time, or raise the number of candidates",
        )
    std = totals.dense.std
    return RankerConfig(
        user_features=spec.user_features[:-1], item_features=spec.item_features, tasks=ranker_tasks(spec),
        dense_mean=tuple(totals.dense.mean.tolist()),
        dense_std=tuple(np.where(std > 1e-6, std, 1.0).tolist()),
        embedding_dim=config.embedding_dim, hidden_dim=config.hidden_dim, architecture=config.architecture,
    )  # fmt: skip
