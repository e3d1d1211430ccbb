"""A ranker that is taught: what is asked for is read; the result is what the parts give by hand, also after a cut."""

import dataclasses
from pathlib import Path

import pytest

from components.shared.errors import InputError, TrainingError
from components.shared.models.target_attention import TargetAttentionConfig
from components.shared.storage import read_json
from components.shared.training.launch import LaunchConfig, WorkerTask
from components.shared.training.process import Torchrun
from components.train_ranker.distill import distil_pairs
from components.train_ranker.job import METRIC
from components.train_ranker.teacher import TEACHER, TeacherConfig, train_ranker, train_taught
from components.train_ranker.train import train, write_all_pairs


class Counted:
    """Runs workers for the first so many trainings, then is gone."""

    def __init__(self, ends: int = 9) -> None:
        self.runs, self.ends = 0, ends

    def run(self, task: WorkerTask, work: Path) -> None:
        if self.runs == self.ends:
            raise TrainingError("the node is gone", "try again")
        self.runs += 1
        Torchrun(LaunchConfig(max_restarts=0, threads=1)).run(task, work)


ATTENTION = '{"embedding_dim": 12, "share": 0.75, "architecture": {"attention": {"kind": "TargetAttentionConfig"}}}'


def test_a_teacher_is_larger_than_the_ranker_unless_it_is_told(config):
    large = TeacherConfig.from_json("{}", config).training(config)
    assert (large.embedding_dim, large.hidden_dim) == (config.embedding_dim * 2, config.hidden_dim * 4)
    assert dataclasses.replace(large, embedding_dim=config.embedding_dim, hidden_dim=config.hidden_dim) == config
    asked = TeacherConfig.from_json(ATTENTION, config)
    large = asked.training(config)
    assert (large.embedding_dim, large.hidden_dim, asked.share) == (12, config.hidden_dim * 4, 0.75)
    assert isinstance(large.architecture.attention, TargetAttentionConfig)
    assert large.architecture.heads == config.architecture.heads


@pytest.mark.parametrize(("text", "named", "mend"), [
    ('{"width": 3}', "teacher: 'width' is no field", "use some of: embedding_dim, hidden_dim, architecture, share"),
    ('{"hidden_dim": -1}', "teacher: hidden_dim is -1", "give a whole number from 0"),
    ('{"share": 0}', "teacher: share is 0", "above 0 and at most 1"),
    ('{"share": 1.5}', "teacher: share is 1.5", "above 0 and at most 1"),
    ('{"architecture": {"heads": {"kind": "None"}}}', "architecture.heads: there is no kind 'None'", "use one of"),
    ('{"architecture": {"places": 5}}', "a teacher and an architecture with places", "leave one of them out"),
    ("large", "teacher is not JSON", "give an object"),
])  # fmt: skip
def test_a_teacher_that_cannot_be_is_named_before_anything_is_trained(config, tmp_path, text, named, mend):
    with pytest.raises(InputError, match=named) as caught:
        train_ranker(tmp_path, tmp_path, tmp_path / "out", config, text, None, "")
    assert mend in caught.value.mend
    assert list(tmp_path.iterdir()) == []


def test_a_log_has_no_use_for_a_taught_ranker(config, tmp_path):
    with pytest.raises(InputError, match="inference_log is logs, but there is a teacher"):
        train_ranker(tmp_path, tmp_path, tmp_path / "out", config, "{}", None, "logs")


@pytest.mark.slow
def test_a_taught_ranker_is_what_its_parts_give_and_a_retried_step_keeps_the_teacher(tiny_run, config, tmp_path):
    features, retriever = tiny_run.features, tiny_run.retriever
    config = dataclasses.replace(config, epochs=1)
    asked = TeacherConfig.from_json(ATTENTION, config)
    large = asked.training(config)
    write_all_pairs(features, retriever, tmp_path / "pairs", large)
    train(features, retriever, tmp_path / "teacher", large, None, Counted(), tmp_path / "pairs")
    distil_pairs(features, (retriever, tmp_path / "teacher"), tmp_path / "pairs", tmp_path / "soft", asked.share)
    by_hand = train(features, retriever, tmp_path / "by-hand", config, None, Counted(), tmp_path / "soft")

    lasting, out = tmp_path / "lasting", tmp_path / "out" / "ranker"
    with pytest.raises(TrainingError, match="the node is gone"):
        train_taught(features, retriever, out, config, asked, lasting, Counted(ends=1))
    retried = Counted()
    found = train_taught(features, retriever, out, config, asked, lasting, retried)
    assert retried.runs == 1, "the teacher was finished by the first try"
    assert found == {**by_hand, f"teacher_{METRIC}": read_json(out / TEACHER)[METRIC]}
    assert (out / "weights.safetensors").read_bytes() == (tmp_path / "by-hand" / "weights.safetensors").read_bytes()
    assert {path.name for path in out.iterdir()} == {TEACHER, *(path.name for path in (tmp_path / "by-hand").iterdir())}
    said = read_json(out / TEACHER)
    assert (said["embedding_dim"], said["hidden_dim"], said["share"]) == (12, config.hidden_dim * 4, 0.75)
    assert list(lasting.iterdir()) == [] and list(out.parent.iterdir()) == [out]
