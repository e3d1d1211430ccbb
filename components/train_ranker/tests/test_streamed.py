"""Training on streamed pairs: any number of processes, the same validation, and resumption after interruptions."""

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.distributed as dist

from components.shared.errors import TrainingError
from components.shared.storage import read_json
from components.shared.training.checkpoint import complete
from components.shared.training.group import Group
from components.shared.training.launch import LaunchConfig, WorkerTask
from components.shared.training.process import Torchrun
from components.train_ranker.examples import count_pairs
from components.train_ranker.job import METRIC, WorkerJob
from components.train_ranker.train import train
from components.train_ranker.worker import Training

pytestmark = pytest.mark.slow
ONE = LaunchConfig(max_restarts=0, threads=1)


@dataclass
class Cut:
    """A launcher that runs one epoch, deletes its last checkpoint and fails: the newest one left is mid-epoch."""

    tasks: list[WorkerTask] = dataclasses.field(default_factory=list)

    def run(self, task: WorkerTask, work: Path) -> None:
        self.tasks.append(task)
        options = {**task.settings["options"], "epochs": 1}
        Torchrun(ONE).run(dataclasses.replace(task, settings={**task.settings, "options": options}), work)
        steps = complete(work / "checkpoints")
        shutil.rmtree(work / "checkpoints" / f"step_{steps[-1]}")
        raise TrainingError("cut off", "try again")


@dataclass
class Refused:
    """A launcher that records tasks and refuses to run them."""

    tasks: list[WorkerTask] = dataclasses.field(default_factory=list)

    def run(self, task: WorkerTask, work: Path) -> None:
        self.tasks.append(task)
        raise TrainingError("refused", "none")


def test_streamed_pairs_are_trained_in_another_order_than_held_ones(streamed, one_process):
    held, found = (read_json(model / "curve.json") for model in (one_process, streamed))
    assert found[0]["loss"] != held[0]["loss"] and found[0]["loss"] == pytest.approx(held[0]["loss"], rel=0.2)
    assert found[1]["loss"] < found[0]["loss"]
    assert read_json(streamed / "config.json") == read_json(one_process / "config.json")


def test_two_processes_on_streamed_pairs_match_one_process(fit, streamed):
    two_processes = fit(2, held_pairs=0)
    for name, share in (("loss", 1e-4), (METRIC, 1e-3)):
        one, two = ([point[name] for point in read_json(model / "curve.json")] for model in (streamed, two_processes))
        assert two == pytest.approx(one, rel=share, abs=share)


def test_interrupted_run_on_given_pairs_resumes_bit_identically(
    tiny_run, config, all_pairs, streamed, tmp_path, capsys
):
    training, interrupted = config.replace(launch=ONE, held_pairs=0), Cut()
    arguments = (tiny_run.features, tiny_run.retriever, tmp_path / "model", training, tmp_path / "lasting")
    with pytest.raises(TrainingError, match="cut off"):
        train(*arguments, launcher=interrupted, pairs=all_pairs)
    work = tmp_path / "lasting" / interrupted.tasks[0].digest
    assert complete(work / "checkpoints") == [2], "of four steps an epoch"
    capsys.readouterr()
    train(*arguments, pairs=all_pairs)
    assert "epoch 1 loss" not in capsys.readouterr().out, "the first step was not done again"
    assert not list((tmp_path / "lasting").iterdir())
    assert (tmp_path / "model" / "weights.safetensors").read_bytes() == (streamed / "weights.safetensors").read_bytes()
    uninterrupted, resumed = (read_json(model / "curve.json") for model in (streamed, tmp_path / "model"))
    assert [{**point, "seconds": 0} for point in resumed] == [{**point, "seconds": 0} for point in uninterrupted]


def test_digest_of_a_run_depends_on_the_content_of_given_pairs(tiny_run, config, all_pairs, tmp_path):
    shutil.copytree(all_pairs, tmp_path / "moved")
    shutil.copytree(all_pairs, tmp_path / "other")
    table = pq.read_table(all_pairs / "ranker-0.parquet").combine_chunks()
    label = table["label"].chunk(0)
    inverted = pa.ListArray.from_arrays(label.offsets, pa.array(1 - label.values.to_numpy()))
    other = table.set_column(table.schema.get_field_index("label"), "label", inverted)
    pq.write_table(other, tmp_path / "other" / "ranker-0.parquet")
    launcher = Refused()
    for pairs in (None, all_pairs, all_pairs, tmp_path / "moved", tmp_path / "other"):
        with pytest.raises(TrainingError, match="refused"):
            train(
                tiny_run.features, tiny_run.retriever, tmp_path / "model", config, tmp_path / "lasting", launcher, pairs
            )
    written, first, again, moved, changed = (task.digest for task in launcher.tasks)
    assert first == again == moved
    assert len({written, first, changed}) == 3
    link = tmp_path / "lasting" / first / "ranker-0.parquet"
    assert link.resolve() == (tmp_path / "moved" / "ranker-0.parquet").resolve(), "the pairs that the last try names"


@pytest.fixture
def group():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield Group(0, 1, torch.device("cpu"))
    dist.destroy_process_group()


def test_validation_ndcg_is_the_same_for_held_and_streamed_pairs(
    tiny_run, config, all_pairs, one_process, group, tmp_path
):
    many = pa.concat_tables([pq.read_table(all_pairs / f"{name}.parquet") for name in ("validation", "ranker-0")] * 2)
    shutil.copytree(all_pairs, tmp_path / "pairs")
    pq.write_table(many, tmp_path / "pairs" / "validation.parquet", row_group_size=32)
    shutil.copyfile(one_process / "config.json", tmp_path / "pairs" / "config.json")
    job = WorkerJob(
        features=str(tiny_run.features), pairs=str(tmp_path / "pairs"), training=["ranker-0.parquet"],
        validation="validation.parquet", refit="", folder="",
        options=config.replace(id_dropout=0.0, listwise=0.0).digest_settings,
    )  # fmt: skip
    held = Training(job, group).validate()
    threshold = count_pairs([tmp_path / "pairs" / "ranker-0.parquet"])
    assert (
        Training(dataclasses.replace(job, options={**job.options, "held_pairs": threshold}), group).validate() == held
    )
    assert 0 < held < 1
