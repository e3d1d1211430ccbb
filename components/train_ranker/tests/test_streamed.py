"""Training on streamed pairs: as many processes as wanted, the same validation, and a cut run ends as a calm one."""

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
    """Runs one epoch, loses the checkpoint of its end and fails: the newest one lies in the middle of the epoch."""

    tasks: list[WorkerTask] = dataclasses.field(default_factory=list)

    def run(self, task: WorkerTask, work: Path) -> None:
        self.tasks.append(task)
        options = {**task.settings["options"], "epochs": 1}
        Torchrun(ONE).run(dataclasses.replace(task, settings={**task.settings, "options": options}), work)
        left = complete(work / "checkpoints")
        shutil.rmtree(work / "checkpoints" / f"step_{left[-1]}")
        raise TrainingError("cut off", "try again")


@dataclass
class Refused:
    """Only notes what it is asked to run."""

    tasks: list[WorkerTask] = dataclasses.field(default_factory=list)

    def run(self, task: WorkerTask, work: Path) -> None:
        self.tasks.append(task)
        raise TrainingError("refused", "none")


def test_streamed_pairs_are_learned_in_another_order_than_held_ones(streamed, alone):
    held, found = (read_json(model / "curve.json") for model in (alone, streamed))
    assert found[0]["loss"] != held[0]["loss"] and found[0]["loss"] == pytest.approx(held[0]["loss"], rel=0.2)
    assert found[1]["loss"] < found[0]["loss"]
    assert read_json(streamed / "config.json") == read_json(alone / "config.json")


def test_two_processes_train_on_streamed_pairs_what_one_does(fit, streamed):
    pair = fit(2, held_pairs=0)
    for name, share in (("loss", 1e-4), (METRIC, 1e-3)):
        one, both = ([point[name] for point in read_json(model / "curve.json")] for model in (streamed, pair))
        assert both == pytest.approx(one, rel=share, abs=share)


def test_a_cut_run_on_given_pairs_ends_bit_identical_to_a_calm_one(
    tiny_run, config, all_pairs, streamed, tmp_path, capsys
):
    made, cut = config.replace(launch=ONE, held_pairs=0), Cut()
    asked = (tiny_run.features, tiny_run.retriever, tmp_path / "model", made, tmp_path / "lasting")
    with pytest.raises(TrainingError, match="cut off"):
        train(*asked, launcher=cut, pairs=all_pairs)
    work = tmp_path / "lasting" / cut.tasks[0].digest
    assert complete(work / "checkpoints") == [2], "of four steps an epoch"
    capsys.readouterr()
    train(*asked, pairs=all_pairs)
    assert "epoch 1 loss" not in capsys.readouterr().out, "the first step was not done again"
    assert not list((tmp_path / "lasting").iterdir())
    assert (tmp_path / "model" / "weights.safetensors").read_bytes() == (streamed / "weights.safetensors").read_bytes()
    calm, resumed = (read_json(model / "curve.json") for model in (streamed, tmp_path / "model"))
    assert [{**point, "seconds": 0} for point in resumed] == [{**point, "seconds": 0} for point in calm]


def test_a_run_on_other_pairs_is_another_run(tiny_run, config, all_pairs, tmp_path):
    shutil.copytree(all_pairs, tmp_path / "moved")
    shutil.copytree(all_pairs, tmp_path / "other")
    table = pq.read_table(all_pairs / "ranker-0.parquet").combine_chunks()
    label = table["label"].chunk(0)
    turned = pa.ListArray.from_arrays(label.offsets, pa.array(1 - label.values.to_numpy()))
    other = table.set_column(table.schema.get_field_index("label"), "label", turned)
    pq.write_table(other, tmp_path / "other" / "ranker-0.parquet")
    noted = Refused()
    for given in (None, all_pairs, all_pairs, tmp_path / "moved", tmp_path / "other"):
        with pytest.raises(TrainingError, match="refused"):
            train(tiny_run.features, tiny_run.retriever, tmp_path / "model", config, tmp_path / "lasting", noted, given)
    written, first, again, moved, changed = (task.digest for task in noted.tasks)
    assert first == again == moved
    assert len({written, first, changed}) == 3
    link = tmp_path / "lasting" / first / "ranker-0.parquet"
    assert link.resolve() == (tmp_path / "moved" / "ranker-0.parquet").resolve(), "the pairs that the last try names"


@pytest.fixture
def group():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield Group(0, 1, torch.device("cpu"))
    dist.destroy_process_group()


def test_validation_has_the_same_ndcg_whether_held_or_read_part_by_part(
    tiny_run, config, all_pairs, alone, group, tmp_path
):
    many = pa.concat_tables([pq.read_table(all_pairs / f"{name}.parquet") for name in ("validation", "ranker-0")] * 2)
    shutil.copytree(all_pairs, tmp_path / "pairs")
    pq.write_table(many, tmp_path / "pairs" / "validation.parquet", row_group_size=32)
    shutil.copyfile(alone / "config.json", tmp_path / "pairs" / "config.json")
    job = WorkerJob(
        features=str(tiny_run.features), pairs=str(tmp_path / "pairs"), training=["ranker-0.parquet"],
        validation="validation.parquet", refit="", folder="",
        options=config.replace(id_dropout=0.0, listwise=0.0).digest_settings,
    )  # fmt: skip
    held = Training(job, group).validate()
    between = count_pairs([tmp_path / "pairs" / "ranker-0.parquet"])
    assert Training(dataclasses.replace(job, options={**job.options, "held_pairs": between}), group).validate() == held
    assert 0 < held < 1
