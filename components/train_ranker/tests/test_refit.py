"""The final model also trains on the validation window, for the number of epochs that validation selected."""

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
    """A launcher that runs to the end, deletes the results and the last checkpoint of the refit, and fails."""

    task: WorkerTask | None = None

    def run(self, task: WorkerTask, work: Path) -> None:
        self.task = task
        Torchrun(ONE).run(task, work)
        for name in task.results:
            if name != "curve.json":
                (work / name).unlink()
        steps = complete(work / "refit" / "checkpoints")
        shutil.rmtree(work / "refit" / "best")
        shutil.rmtree(work / "refit" / "checkpoints" / f"step_{steps[-1]}")
        raise TrainingError("cut off", "try again")


@pytest.fixture(scope="module")
def fit_pairs(tiny_run, config, all_pairs, tmp_path_factory):
    """Train on the pairs of a folder, by default those of `all_pairs`."""

    def run(folder: Path = all_pairs, **changes) -> Path:
        out = tmp_path_factory.mktemp("refit") / "model"
        training = config.replace(**{"launch": ONE, **changes})
        train(tiny_run.features, tiny_run.retriever, out, training, pairs=folder)
        return out

    return run


def losses(model: Path, name: str) -> list[float]:
    return [point["loss"] for point in read_json(model / name)]


def test_refit_runs_to_the_best_epoch_on_training_and_validation_shoppers(one_process, tiny_run, all_pairs, config):
    chosen, final = read_json(one_process / "curve.json"), read_json(one_process / REFIT)
    assert len(final) == best_point(chosen, METRIC)["epoch"]
    assert all(METRIC not in point for point in final), "nothing is validated on what is learned"
    spec = FeatureSpec.read(tiny_run.features / "spec.json")
    shoppers = [len(PairRows.read([all_pairs / name], spec)) for name in ("ranker-0.parquet", VALIDATION)]
    assert chosen[0]["step"] == shoppers[0] // config.batch_shoppers
    assert final[0]["step"] == sum(shoppers) // config.batch_shoppers


def test_without_refit_the_weights_of_the_best_epoch_are_final(not_refitted, one_process):
    first, both = not_refitted, one_process
    assert losses(first, "curve.json") == losses(both, "curve.json")
    one, other = (load_file(model / "weights.safetensors") for model in (first, both))
    assert any(not np.array_equal(one[name], other[name]) for name in one)
    assert (first / "config.json").read_bytes() == (both / "config.json").read_bytes()


def test_refit_trains_on_all_windows_and_nothing_else(fit_pairs, all_pairs, tmp_path):
    """With zero learning rates and one batch per epoch, the loss is that of the initial weights over these pairs."""
    frozen = {"epochs": 1, "id_dropout": 0.0, "listwise": 0.0, "batch_shoppers": 1_000,
              "optimizer": OptimizerConfig(embedding_lr=0.0, dense_lr=0.0, seed=7)}  # fmt: skip
    model = fit_pairs(**frozen)
    [first], [final] = losses(model, "curve.json"), losses(model, REFIT)
    ranker, validation = (count_pairs([all_pairs / name]) for name in ("ranker-0.parquet", VALIDATION))
    exchanged = tmp_path / "turned"
    shutil.copytree(all_pairs, exchanged)
    for name, source in (("ranker-0.parquet", VALIDATION), (VALIDATION, "ranker-0.parquet")):
        shutil.copyfile(all_pairs / source, exchanged / name)
    # The inputs are normalised differently then, so only the sum over all pairs can be compared.
    other = fit_pairs(exchanged, **frozen)
    [swapped] = losses(other, "curve.json")
    assert final == pytest.approx((first * ranker + swapped * validation) / (ranker + validation), rel=0.02)
    assert abs(first - final) > 1e-6


def test_run_interrupted_during_refit_resumes_bit_identically(streamed, tiny_run, config, all_pairs, tmp_path, capsys):
    training, interrupted = config.replace(launch=ONE, held_pairs=0), CutLate()
    uninterrupted = streamed
    arguments = (tiny_run.features, tiny_run.retriever, tmp_path / "model", training, tmp_path / "lasting")
    with pytest.raises(TrainingError, match="cut off"):
        train(*arguments, launcher=interrupted, pairs=all_pairs)
    capsys.readouterr()
    train(*arguments, pairs=all_pairs)
    output = capsys.readouterr().out
    assert "refit, epoch" in output and output.count(METRIC) == 1, (
        "the number of epochs was not chosen again, only reported at the end"
    )
    assert "refit, epoch 1 loss" not in output, "nor was the refit's first step done again"
    for name in ("weights.safetensors", "trained_rows.safetensors"):
        assert (tmp_path / "model" / name).read_bytes() == (uninterrupted / name).read_bytes(), name
    assert losses(tmp_path / "model", REFIT) == losses(uninterrupted, REFIT)
    assert not list((tmp_path / "lasting").iterdir())


def test_refit_with_two_processes_matches_one_process(fit_pairs, one_process):
    two_processes = fit_pairs(launch=LaunchConfig(processes=2, max_restarts=0, threads=1))
    assert losses(two_processes, REFIT) == pytest.approx(losses(one_process, REFIT), rel=1e-4)


def test_soft_validation_labels_are_trained_on_but_not_validated_on(fit_pairs, one_process, all_pairs, tmp_path):
    """Inverted labels in the file that the refit trains on change only the final weights."""
    soft = tmp_path / "soft"
    shutil.copytree(all_pairs, soft)
    table = pq.read_table(all_pairs / VALIDATION).combine_chunks()
    label = table["label"].chunk(0)
    inverted = pa.ListArray.from_arrays(label.offsets, pa.array(1 - label.values.to_numpy()))
    pq.write_table(table.set_column(table.schema.get_field_index("label"), "label", inverted), soft / SOFT_VALIDATION)
    plain, taught = one_process, fit_pairs(soft)
    assert read_json(plain / "curve.json")[0][METRIC] == read_json(taught / "curve.json")[0][METRIC]
    assert abs(losses(taught, REFIT)[0] - losses(plain, REFIT)[0]) > 0.005, "what is learned is another"


def test_first_training_is_freed_before_the_refit_begins(
    tiny_run, config, all_pairs, one_process, tmp_path, monkeypatch
):
    shutil.copytree(all_pairs, tmp_path / "pairs")
    shutil.copyfile(one_process / "config.json", tmp_path / "pairs" / "config.json")
    references, live_counts = [], []

    class Watched(worker.Training):
        def __init__(self, *arguments):
            live_counts.append(sum(one() is not None for one in references))
            super().__init__(*arguments)
            references.append(weakref.ref(self))

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
    assert live_counts == [0, 0] and final.address.endswith("/refit") and final.exists("curve.json")
