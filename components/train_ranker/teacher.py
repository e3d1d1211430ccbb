"""A large ranker teaches a small one: it is trained first, over the same pairs, and the labels carry its word."""

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from components.shared.config_fields import Amount, Rate
from components.shared.errors import InputError
from components.shared.models.ranker import RankerArchitecture
from components.shared.models.variants import fields_from_json, json_object
from components.shared.progress import report
from components.shared.storage import atomic_directory, read_json, write_json
from components.shared.training.curve import summary
from components.shared.training.launch import Launcher, run_digest
from components.train_ranker.distill import check_share, distil_pairs
from components.train_ranker.job import METRIC
from components.train_ranker.train import RankerTraining, check_training, train, training_digest, write_all_pairs

TEACHER = "teacher.json"
"""In the taught ranker's folder: who taught it, how well that one did on the validation window, and its share."""


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """How large the teacher is and how much its word counts."""

    embedding_dim: Amount = 0
    """Width of its embedding rows; 0: twice the ranker's."""
    hidden_dim: Amount = 0
    """Width of its hidden layers; 0: four times the ranker's."""
    architecture: RankerArchitecture | None = None
    """Its layers; None: the ranker's."""
    share: Rate = 0.5
    """Of its word in a label, above 0 and at most 1; the rest is what really happened."""

    @classmethod
    def from_json(cls, text: str, student: RankerTraining) -> "TeacherConfig":
        """What a person asks for.

        Args:
            text: JSON of some of the fields; absent parts of the architecture are the ranker's.
            student: The ranker that is taught.

        Raises:
            InputError: a value cannot be, or places are to be learned, which the teacher's word is free of.
        """
        raw = json_object(text, "teacher")
        layers = RankerArchitecture.from_json(raw.pop("architecture", None) or {}, student.architecture)
        found = dataclasses.replace(fields_from_json(cls(), raw, "teacher"), architecture=layers)
        check_share(found.share, "teacher: share")
        if layers.places or student.architecture.places:
            raise InputError("there are a teacher and an architecture with places",
                             "leave one of them out: a teacher's word does not depend on the place")  # fmt: skip
        return found

    def training(self, student: RankerTraining) -> RankerTraining:
        """How the teacher is trained: as the ranker, but for its size and layers."""
        return dataclasses.replace(
            student, embedding_dim=self.embedding_dim or student.embedding_dim * 2,
            hidden_dim=self.hidden_dim or student.hidden_dim * 4,
            architecture=self.architecture or student.architecture,
        )  # fmt: skip


def train_ranker(
    features: Path, retriever: Path, out: Path, config: RankerTraining, teacher: str, checkpoints: Path | None, log: str
) -> dict[str, float]:
    """Train the ranker, by a teacher if one is asked for.

    Args:
        features: Output of build_features.
        retriever: Output of train_retriever.
        out: Folder to write.
        config: How the ranker is trained.
        teacher: See TeacherConfig.from_json; empty: there is none.
        checkpoints: See `train`.
        log: Folder of the inference log; empty: where shown items stood is unknown.

    Raises:
        InputError: the teacher cannot be, or there is a log, of which it makes no use; and as `train`.
    """
    if not teacher:
        return train(features, retriever, out, config, checkpoints, log=Path(log) if log else None)
    return train_taught(features, retriever, out, config, _teacher(teacher, config, log), checkpoints)


def check_teacher(teacher: str, config: RankerTraining, log: str) -> None:
    """Refuse a teacher who cannot be; see `train_ranker`.

    Raises:
        InputError: there is one, who cannot be or does not go with the log.
    """
    if teacher:
        check_training(_teacher(teacher, config, log).training(config), bool(log))


def _teacher(text: str, config: RankerTraining, log: str) -> TeacherConfig:
    if log:
        raise InputError(
            f"inference_log is {log}, but there is a teacher, who learns no places", "leave one of them out"
        )
    return TeacherConfig.from_json(text, config)


def train_taught(
    features: Path,
    retriever: Path,
    out: Path,
    config: RankerTraining,
    teacher: TeacherConfig,
    checkpoints: Path | None = None,
    launcher: Launcher | None = None,
) -> dict[str, float]:
    """As `train`, by labels that are mixed with the teacher's word; adds teacher.json.

    Args:
        features: Output of build_features.
        retriever: Output of train_retriever.
        out: Folder to write.
        config: How the ranker is trained.
        teacher: Who is trained before it.
        checkpoints: A lasting folder, so that a retried step resumes in whichever training it was; None: none lasts.
        launcher: Of both trainings; by default what `config.launch` names.

    Returns:
        As `train`, and the teacher's best validation NDCG@10.
    """
    large = teacher.training(config)
    settings = {"large": training_digest(features, retriever, large), "share": teacher.share}
    digest = run_digest({**settings, "small": training_digest(features, retriever, config)}, [])
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="shoprank-taught-", dir=out.parent) as temporary:
        work = checkpoints / digest if checkpoints else Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        _teach(features, retriever, work, large, teacher.share, launcher)
        if not (work / "student").exists():
            train(features, retriever, work / "student", config, work / "checkpoints", launcher, work / "soft")
        said = summary(work / "teacher", METRIC)[METRIC]
        with atomic_directory(out) as folder:
            shutil.copytree(work / "student", folder, dirs_exist_ok=True)
            shape = read_json(work / "teacher" / "config.json")
            shape = {name: shape[name] for name in ("embedding_dim", "hidden_dim", "architecture")}
            write_json(folder / TEACHER, {**shape, "share": teacher.share, METRIC: said})
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
