"""The final model learns the validation window too, for as many epochs as that window said before."""

import shutil
import weakref
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.distributed as dist
from safetensors.numpy import load_file

from components.shared.errors import TrainingError
from components.shared.features.spec import FeatureSpec
from components.shared.storage import read_json
from components.shared.training.checkpoint import complete
from components.shared.training.curve import REFIT, best_point
from components.shared.training.exchange import SharedFolder
from components.shared.training.group import Group
from components.shared.training.launch import LaunchConfig, WorkerTask
from components.shared.training.optimizer import OptimizerConfig
from components.shared.training.process import Torchrun
from components.train_ranker import worker
from components.train_ranker.examples import PairRows, count_pairs
from components.train_ranker.job import METRIC, SOFT_VALIDATION, VALIDATION, WorkerJob
from components.train_ranker.train import train

pytestmark = pytest.mark.slow
ONE = LaunchConfig(max_restarts=0, threads=1)


@dataclass
class CutLate:
    """Runs to the end, then loses the results and the last checkpoint of the refit, and fails."""

    task: WorkerTask | None = None

    def run(self, task: WorkerTask, work: Path) -> None:
        self.task = task
        Torchrun(ONE).run(task, work)
        for name in task.results:
            if name != "curve.json":
                (work / name).unlink()
        left = complete(work / "refit" / "checkpoints")
        shutil.rmtree(work / "refit" / "best")
        shutil.rmtree(work / "refit" / "checkpoints" / f"step_{left[-1]}")
        raise TrainingError("cut off", "try again")


@pytest.fixture(scope="module")
def given(tiny_run, config, all_pairs, tmp_path_factory):
    """Train on given pairs, by default those of `all_pairs`."""

    def run(folder: Path = all_pairs, **changes) -> Path:
        out = tmp_path_factory.mktemp("refit") / "model"
        made = config.replace(**{"launch": ONE, **changes})
        train(tiny_run.features, tiny_run.retriever, out, made, pairs=folder)
        return out

    return run


def losses(model: Path, name: str) -> list[float]:
    return [point["loss"] for point in read_json(model / name)]


def test_the_final_training_is_as_long_as_the_best_epoch_says_and_sees_more_shoppers(
    alone, tiny_run, all_pairs, config
):
    chosen, final = read_json(alone / "curve.json"), read_json(alone / REFIT)
    assert len(final) == best_point(chosen, METRIC)["epoch"]
    assert all(METRIC not in point for point in final), "nothing is validated on what is learned"
    spec = FeatureSpec.read(tiny_run.features / "spec.json")
    shoppers = [len(PairRows.read([all_pairs / name], spec)) for name in ("ranker-0.parquet", VALIDATION)]
    assert chosen[0]["step"] == shoppers[0] // config.batch_shoppers
    assert final[0]["step"] == sum(shoppers) // config.batch_shoppers


def test_without_it_the_best_epochs_weights_are_final(not_refitted, alone):
    first, both = not_refitted, alone
    assert losses(first, "curve.json") == losses(both, "curve.json")
    one, other = (load_file(model / "weights.safetensors") for model in (first, both))
    assert any(not np.array_equal(one[name], other[name]) for name in one)
    assert (first / "config.json").read_bytes() == (both / "config.json").read_bytes()


def test_all_windows_are_learned_and_nothing_else(given, all_pairs, tmp_path):
    """With rates of 0 and one batch an epoch the loss is that of the initial weights over exactly those pairs."""
    still = {"epochs": 1, "id_dropout": 0.0, "listwise": 0.0, "batch_shoppers": 1_000,
             "optimizer": OptimizerConfig(embedding_lr=0.0, dense_lr=0.0, seed=7)}  # fmt: skip
    model = given(**still)
    [first], [final] = losses(model, "curve.json"), losses(model, REFIT)
    ranker, validation = (count_pairs([all_pairs / name]) for name in ("ranker-0.parquet", VALIDATION))
    turned = tmp_path / "turned"
    shutil.copytree(all_pairs, turned)
    for name, source in (("ranker-0.parquet", VALIDATION), (VALIDATION, "ranker-0.parquet")):
        shutil.copyfile(all_pairs / source, turned / name)
    # The inputs' normalisation is another then, so only the sum of what was learned can be compared.
    other = given(turned, **still)
    [swapped] = losses(other, "curve.json")
    assert final == pytest.approx((first * ranker + swapped * validation) / (ranker + validation), rel=0.02)
    assert abs(first - final) > 1e-6


def test_a_run_cut_off_while_it_refits_ends_bit_identical_to_a_calm_one(
    streamed, tiny_run, config, all_pairs, tmp_path, capsys
):
    made, cut = config.replace(launch=ONE, held_pairs=0), CutLate()
    calm = streamed
    asked = (tiny_run.features, tiny_run.retriever, tmp_path / "model", made, tmp_path / "lasting")
    with pytest.raises(TrainingError, match="cut off"):
        train(*asked, launcher=cut, pairs=all_pairs)
    capsys.readouterr()
    train(*asked, pairs=all_pairs)
    said = capsys.readouterr().out
    assert "refit, epoch" in said and said.count(METRIC) == 1, "the epochs were not chosen again, only told at the end"
    assert "refit, epoch 1 loss" not in said, "nor was the refit's first step done again"
    for name in ("weights.safetensors", "trained_rows.safetensors"):
        assert (tmp_path / "model" / name).read_bytes() == (calm / name).read_bytes(), name
    assert losses(tmp_path / "model", REFIT) == losses(calm, REFIT)
    assert not list((tmp_path / "lasting").iterdir())


def test_two_processes_refit_what_one_does(given, alone):
    pair = given(launch=LaunchConfig(processes=2, max_restarts=0, threads=1))
    assert losses(pair, REFIT) == pytest.approx(losses(alone, REFIT), rel=1e-4)


def test_a_teachers_word_in_the_validation_window_is_learned_and_not_validated_on(given, alone, all_pairs, tmp_path):
    """Labels turned round in the file that is learned change the final weights alone."""
    soft = tmp_path / "soft"
    shutil.copytree(all_pairs, soft)
    table = pq.read_table(all_pairs / VALIDATION).combine_chunks()
    label = table["label"].chunk(0)
    turned = pa.ListArray.from_arrays(label.offsets, pa.array(1 - label.values.to_numpy()))
    pq.write_table(table.set_column(table.schema.get_field_index("label"), "label", turned), soft / SOFT_VALIDATION)
    plain, taught = alone, given(soft)
    assert read_json(plain / "curve.json")[0][METRIC] == read_json(taught / "curve.json")[0][METRIC]
    assert abs(losses(taught, REFIT)[0] - losses(plain, REFIT)[0]) > 0.005, "what is learned is another"


def test_the_first_trainings_tables_are_gone_when_the_second_begins(
    tiny_run, config, all_pairs, alone, tmp_path, monkeypatch
):
    shutil.copytree(all_pairs, tmp_path / "pairs")
    shutil.copyfile(alone / "config.json", tmp_path / "pairs" / "config.json")
    alive, begun = [], []

    class Watched(worker.Training):
        def __init__(self, *given):
            begun.append(sum(one() is not None for one in alive))
            super().__init__(*given)
            alive.append(weakref.ref(self))

    monkeypatch.setattr(worker, "Training", Watched)
    job = WorkerJob(
        features=str(tiny_run.features), pairs=str(tmp_path / "pairs"), training=["ranker-0.parquet"],
        validation=VALIDATION, refit=VALIDATION, folder="",
        options=config.replace(id_dropout=0.0, listwise=0.0, epochs=1).digest_settings,
    )  # fmt: skip
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        final = worker.fit(job, Group(0, 1, torch.device("cpu")), SharedFolder(tmp_path / "run"))
    finally:
        dist.destroy_process_group()
    assert begun == [0, 0] and final.address.endswith("/refit") and final.exists("curve.json")
