"""Distillation: a larger ranker is trained first on the same pairs, and its predictions become part of the labels."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from components.shared.progress import report
from components.shared.storage import atomic_directory, read_json, write_json
from components.shared.training.curve import summary
from components.shared.training.launch import Launcher, run_digest
from components.train_ranker.config import RankerTraining
from components.train_ranker.distill import distil_pairs
from components.train_ranker.job import METRIC
from components.train_ranker.train import train, training_digest, write_all_pairs

TEACHER = "teacher.json"
"""File in the student's folder: the teacher's shape, validation metric and weight in the labels."""


def train_ranker(
    features: Path, retriever: Path, out: Path, config: RankerTraining, checkpoints: Path | None = None,
    launcher: Launcher | None = None,
) -> dict[str, float]:  # fmt: skip
    """Train the ranker, with soft labels of a teacher if the options define one.

    Args:
        features: Output of build_features.
        retriever: Output of train_retriever.
        out: Folder to write.
        config: Options of the training.
        checkpoints: See `train`.
        launcher: Runs the workers of every training; default: the launcher selected by `config.launch`.

    Raises:
        InputError: as in `train`, or a teacher is combined with positions.
    """
    config.check()
    if config.teacher is None:
        return train(features, retriever, out, config, checkpoints, launcher)
    return train_with_teacher(features, retriever, out, config, checkpoints, launcher)


def train_with_teacher(
    features: Path,
    retriever: Path,
    out: Path,
    config: RankerTraining,
    checkpoints: Path | None = None,
    launcher: Launcher | None = None,
) -> dict[str, float]:
    """Like `train`, on soft labels that mix observed labels and the teacher's probabilities; also writes teacher.json.

    Args:
        features: Output of build_features.
        retriever: Output of train_retriever.
        out: Folder to write.
        config: Options of the training and of its teacher.
        checkpoints: Persistent folder, so that a retried step can resume either training; None: not kept.
        launcher: Runs the workers of both trainings; default: the launcher selected by `config.launch`.

    Returns:
        Metrics of `train`, and the teacher's best validation NDCG@10.
    """
    assert config.teacher is not None, "train_ranker calls this for a teacher"
    large, weight = config.teacher_training, config.teacher.soft_label_weight
    config = config.replace(teacher=None)
    settings = {"large": training_digest(features, retriever, large), "soft_label_weight": weight}
    digest = run_digest({**settings, "small": training_digest(features, retriever, config)}, [])
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="shoprank-taught-", dir=out.parent) as temporary:
        work = checkpoints / digest if checkpoints else Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        _teach(features, retriever, work, large, weight, launcher)
        if not (work / "student").exists():
            train(features, retriever, work / "student", config, work / "checkpoints", launcher, work / "soft")
        teacher_metric = summary(work / "teacher", METRIC)[METRIC]
        with atomic_directory(out) as folder:
            shutil.copytree(work / "student", folder, dirs_exist_ok=True)
            shape = read_json(work / "teacher" / "config.json")
            shape = {name: shape[name] for name in ("embedding_dim", "hidden_dim", "architecture")}
            write_json(folder / TEACHER, {**shape, "soft_label_weight": weight, METRIC: teacher_metric})
        if checkpoints:
            shutil.rmtree(work)
    return {**summary(out, METRIC), f"teacher_{METRIC}": teacher_metric}


def _teach(
    features: Path, retriever: Path, work: Path, large: RankerTraining, share: float, launcher: Launcher | None
) -> None:
    """Train the teacher and write the pairs with soft labels; skip what an earlier attempt has completed."""
    if (work / "soft").exists():
        return
    if not (work / "pairs").exists():
        write_all_pairs(features, retriever, work / "pairs", large)
    if not (work / "teacher").exists():
        report("train_ranker", 0.0, f"a teacher of width {large.hidden_dim} first")
        train(features, retriever, work / "teacher", large, work / "checkpoints", launcher, work / "pairs")
    distil_pairs(features, (retriever, work / "teacher"), work / "pairs", work / "soft", share)
