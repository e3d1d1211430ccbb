"""Distillation: a large ranker is trained first, over the same pairs, and its predictions soften the labels."""

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
"""In the taught ranker's folder: who taught it, how well that one did on the validation window, and its share."""


def train_ranker(
    features: Path, retriever: Path, out: Path, config: RankerTraining, checkpoints: Path | None = None,
    launcher: Launcher | None = None,
) -> dict[str, float]:  # fmt: skip
    """Train the ranker, with the soft labels of a teacher if the options ask for one.

    Args:
        features: Output of build_features.
        retriever: Output of train_retriever.
        out: Folder to write.
        config: How the ranker is trained.
        checkpoints: See `train`.
        launcher: Of every training; by default what `config.launch` names.

    Raises:
        InputError: as `train`, or a teacher comes with positions.
    """
    config.check()
    if config.teacher is None:
        return train(features, retriever, out, config, checkpoints, launcher)
    return train_taught(features, retriever, out, config, checkpoints, launcher)


def train_taught(
    features: Path,
    retriever: Path,
    out: Path,
    config: RankerTraining,
    checkpoints: Path | None = None,
    launcher: Launcher | None = None,
) -> dict[str, float]:
    """As `train`, by soft labels, mixed from those that happened and the teacher's probabilities; adds teacher.json.

    Args:
        features: Output of build_features.
        retriever: Output of train_retriever.
        out: Folder to write.
        config: How the ranker is trained, and its teacher.
        checkpoints: A lasting folder, so that a retried step resumes in whichever training it was; None: none lasts.
        launcher: Of both trainings; by default what `config.launch` names.

    Returns:
        As `train`, and the teacher's best validation NDCG@10.
    """
    assert config.teacher is not None, "train_ranker calls this for a teacher"
    large, weight = config.taught_by, config.teacher.soft_label_weight
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
        said = summary(work / "teacher", METRIC)[METRIC]
        with atomic_directory(out) as folder:
            shutil.copytree(work / "student", folder, dirs_exist_ok=True)
            shape = read_json(work / "teacher" / "config.json")
            shape = {name: shape[name] for name in ("embedding_dim", "hidden_dim", "architecture")}
            write_json(folder / TEACHER, {**shape, "soft_label_weight": weight, METRIC: said})
        if checkpoints:
            shutil.rmtree(work)
    return {**summary(out, METRIC), f"teacher_{METRIC}": said}


def _teach(
    features: Path, retriever: Path, work: Path, large: RankerTraining, share: float, launcher: Launcher | None
) -> None:
    """Train the teacher and write the pairs with its word; what an earlier try finished is kept."""
    if (work / "soft").exists():
        return
    if not (work / "pairs").exists():
        write_all_pairs(features, retriever, work / "pairs", large)
    if not (work / "teacher").exists():
        report("train_ranker", 0.0, f"a teacher of width {large.hidden_dim} first")
        train(features, retriever, work / "teacher", large, work / "checkpoints", launcher, work / "pairs")
    distil_pairs(features, (retriever, work / "teacher"), work / "pairs", work / "soft", share)
