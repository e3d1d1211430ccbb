"""Training with a teacher: options are validated, and the result equals the manual steps, also after a retry."""

from pathlib import Path

import pytest

from components.shared.errors import InputError, TrainingError
from components.shared.models.ranker_options import RankerArchitecture, TargetAttentionConfig
from components.shared.storage import read_json
from components.shared.training.launch import LaunchConfig, WorkerTask
from components.shared.training.process import Torchrun
from components.train_ranker.config import RankerTraining, TeacherOptions
from components.train_ranker.distill import distil_pairs
from components.train_ranker.job import METRIC
from components.train_ranker.teacher import TEACHER, train_ranker, train_with_teacher
from components.train_ranker.train import train, write_all_pairs


class Counted:
    """A launcher that runs the first `ends` trainings and then fails."""

    def __init__(self, ends: int = 9) -> None:
        self.runs, self.ends = 0, ends

    def run(self, task: WorkerTask, work: Path) -> None:
        if self.runs == self.ends:
            raise TrainingError("the node is gone", "try again")
        self.runs += 1
        Torchrun(LaunchConfig(max_restarts=0, threads=1)).run(task, work)


TEACHER_OPTIONS = {"embedding_dim": 12, "soft_label_weight": 0.75, "architecture": {"attention": {}}}


def with_teacher(config: RankerTraining, raw: dict) -> RankerTraining:
    return config.replace(teacher=TeacherOptions.read(raw, "ranker.teacher"))


def test_a_teacher_is_larger_than_the_ranker_unless_its_size_is_given(config):
    large = with_teacher(config, {}).teacher_training
    assert (large.embedding_dim, large.hidden_dim) == (config.embedding_dim * 2, config.hidden_dim * 4)
    same = large.replace(embedding_dim=config.embedding_dim, hidden_dim=config.hidden_dim)
    assert same.digest_settings == config.digest_settings
    large = with_teacher(config, TEACHER_OPTIONS).teacher_training
    assert (large.embedding_dim, large.hidden_dim) == (12, config.hidden_dim * 4)
    assert isinstance(large.architecture.attention, TargetAttentionConfig)
    assert large.architecture.heads == config.architecture.heads


@pytest.mark.parametrize(("raw", "message", "fix"), [
    ({"width": 3}, "teacher.width is not an option", "embedding_dim, hidden_dim, architecture, soft_label_weight"),
    ({"hidden_dim": -1}, "teacher.hidden_dim is -1", "give 0 or more"),
    ({"soft_label_weight": 0}, "teacher.soft_label_weight is 0", "above 0"),
    ({"soft_label_weight": 1.5}, "teacher.soft_label_weight is 1.5", "at most 1"),
    ({"architecture": {"heads": {"kind": "none"}}}, "teacher.architecture.heads: kind is 'none'", "use one of"),
])  # fmt: skip
def test_invalid_teacher_options_are_refused_with_their_path(config, raw, message, fix):
    with pytest.raises(InputError, match=message) as caught:
        with_teacher(config, raw)
    assert fix in caught.value.fix


@pytest.mark.parametrize("changes", [
    {"teacher": TeacherOptions(architecture=RankerArchitecture(positions=5))},
    {"teacher": TeacherOptions(), "architecture": RankerArchitecture(positions=5), "inference_log": "logs"},
])  # fmt: skip
def test_teacher_with_positions_is_refused(config, tmp_path, changes):
    with pytest.raises(InputError, match=r"teacher and architecture.positions cannot be combined"):
        train_ranker(tmp_path, tmp_path, tmp_path / "out", config.replace(**changes))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_distilled_ranker_matches_manual_steps_and_retry_reuses_the_teacher(tiny_run, config, tmp_path):
    features, retriever = tiny_run.features, tiny_run.retriever
    config = config.replace(epochs=1)
    training = with_teacher(config, TEACHER_OPTIONS)
    large = training.teacher_training
    write_all_pairs(features, retriever, tmp_path / "pairs", large)
    train(features, retriever, tmp_path / "teacher", large, None, Counted(), tmp_path / "pairs")
    distil_pairs(features, (retriever, tmp_path / "teacher"), tmp_path / "pairs", tmp_path / "soft", 0.75)
    by_hand = train(features, retriever, tmp_path / "by-hand", config, None, Counted(), tmp_path / "soft")

    lasting, out = tmp_path / "lasting", tmp_path / "out" / "ranker"
    with pytest.raises(TrainingError, match="the node is gone"):
        train_with_teacher(features, retriever, out, training, lasting, Counted(ends=1))
    retried = Counted()
    found = train_with_teacher(features, retriever, out, training, lasting, retried)
    assert retried.runs == 1, "the teacher was finished by the first try"
    assert found == {**by_hand, f"teacher_{METRIC}": read_json(out / TEACHER)[METRIC]}
    assert (out / "weights.safetensors").read_bytes() == (tmp_path / "by-hand" / "weights.safetensors").read_bytes()
    assert {path.name for path in out.iterdir()} == {TEACHER, *(path.name for path in (tmp_path / "by-hand").iterdir())}
    teacher = read_json(out / TEACHER)
    assert (teacher["embedding_dim"], teacher["hidden_dim"], teacher["soft_label_weight"]) == (
        12,
        config.hidden_dim * 4,
        0.75,
    )
    assert list(lasting.iterdir()) == [] and list(out.parent.iterdir()) == [out]
