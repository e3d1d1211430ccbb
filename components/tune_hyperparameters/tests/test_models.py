"""Tuning of real models: torchrun is monitored and stopped early, and the stage trains the same model as a trial."""

import json
import os
from pathlib import Path

import optuna
import psutil
import pyarrow.parquet as pq
import pytest
from kfp.dsl import HTML, Dataset, Metrics

from components.shared.errors import InputError
from components.shared.schema.sizes import size_named
from components.shared.storage import read_json
from components.shared.tests.waiting import eventually
from components.train_ranker.config import RankerTraining
from components.train_ranker.job import METRIC
from components.train_ranker.space import configured as configured_ranker
from components.train_ranker.train import train as train_ranker
from components.train_retriever.config import RetrieverTraining
from components.train_retriever.space import configured, search_space
from components.train_retriever.train import train as train_retriever
from components.tune_hyperparameters.component import tune_hyperparameters
from components.tune_hyperparameters.models import tunable

TINY = size_named("tiny")


@pytest.fixture(autouse=True)
def one_core():
    """Limit this process to one core: workers start a thread per usable core, which would slow down parallel tests."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    yield
    os.sched_setaffinity(0, before)


def run_component(folder: Path, **inputs) -> tuple[str, Metrics]:
    outputs = {"best": Dataset(uri=str(folder / "best")), "report": HTML(uri=str(folder / "tuning.html")),
               "metrics": Metrics()}  # fmt: skip
    text = tune_hyperparameters.python_func(**outputs, size="tiny", seed=3, **inputs)
    return text, outputs["metrics"]


@pytest.mark.slow
def test_tuned_retriever_quality_matches_the_training_stage(tiny_run, tmp_path):
    text, metrics = run_component(tmp_path, features=Dataset(uri=str(tiny_run.features)), model="retriever",
                                  tuning={"retriever_trials": 2, "finalists": 1, "storage": ""})  # fmt: skip
    found = read_json(tmp_path / "best" / "hyperparameters.json")
    assert metrics.metadata["defaults"] == found["default_value"] <= found["value"]
    # With the same seed, the stage reaches the quality of the default trial.
    curve = read_json(tiny_run.retriever / "curve.json")
    reached = [max(point["validation_recall_at_20"] for point in curve)]
    assert pq.read_table(tmp_path / "best" / "trials.parquet")["quality"][0].as_py() == reached[0]
    # The same holds for the finals with other seeds.
    for seed in (4, 5):
        config = RetrieverTraining.from_size(TINY, seed)
        reached.append(train_retriever(tiny_run.features, tmp_path / str(seed), config)["validation_recall_at_20"])
    assert found["default_value"] == pytest.approx(sum(reached) / 3, abs=1e-12) and len(set(reached)) > 1
    sized = RetrieverTraining.from_size(TINY, 3)
    assert search_space(sized).values(configured(sized, {"hyperparameters": text})) == found["values"]


@pytest.mark.slow
def test_pruned_trial_stops_its_workers_after_the_reported_epoch(tiny_run, tmp_path, real_processes):
    epochs = []

    def on_epoch(epoch: int, metric: float) -> None:
        epochs.append((epoch, metric))
        raise optuna.TrialPruned

    with tunable("retriever", tiny_run.features, None, "tiny") as found, pytest.raises(optuna.TrialPruned):
        found.train({**found.defaults, "epochs": 50}, tmp_path / "model", on_epoch)
    assert [epoch for epoch, _ in epochs] == [1] and 0.0 <= epochs[0][1] <= 1.0
    assert not list(tmp_path.iterdir()), "neither a model nor half of one"

    def running_workers() -> list[psutil.Process]:
        return [one for one in psutil.Process().children(recursive=True) if "torch" in " ".join(one.cmdline())]

    assert eventually(lambda: not running_workers())


@pytest.mark.slow
def test_ranker_trials_share_pairs_and_train_the_same_model_as_the_stage(tiny_run, tmp_path):
    with tunable("ranker", tiny_run.features, tiny_run.retriever, "tiny", seed=3) as found:
        epochs: list[float] = []
        value = found.train({"epochs": 1}, tmp_path / "trial", lambda _, metric: epochs.append(metric))
        assert 0.0 < found.scoring_ms(tmp_path / "trial") < 1_000.0
        other = found.reseeded(4).train({"epochs": 1}, tmp_path / "other", lambda *_: None)
    sized = RankerTraining.from_size(TINY, 4).replace(epochs=1, refit=False)
    assert other == train_ranker(tiny_run.features, tiny_run.retriever, tmp_path / "seed-4", sized)[METRIC] != value
    config = RankerTraining.from_size(TINY, 3).replace(epochs=1, refit=False)
    train_ranker(tiny_run.features, tiny_run.retriever, tmp_path / "stage", config)
    curve = read_json(tmp_path / "stage" / "curve.json")
    assert epochs == [value] == [point[METRIC] for point in curve]
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("trial", "stage")]
    identical = weights[0] == weights[1]  # pytest would take minutes to explain a failing comparison of bytes
    assert identical, "shared pairs change nothing, and a trial learns nothing of the window that it is judged on"


def test_defaults_of_every_size_lie_within_the_search_space(tiny_run):
    for size in ("tiny", "small", "full"):
        for model in ("retriever", "ranker"):
            with tunable(model, tiny_run.features, tiny_run.retriever, size) as found:
                assert found.space.apply(found.config, found.defaults) == found.config
                assert all(
                    found.space.ranges[name].invalid_reason(value) == "" for name, value in found.defaults.items()
                )


def test_error_for_invalid_hyperparameters_names_the_field(tmp_path):
    for sized, apply, model in (
        (RetrieverTraining.from_size(TINY, 0), configured, "retriever"),
        (RankerTraining.from_size(TINY, 0), configured_ranker, "ranker"),
    ):
        assert apply(sized, {}) == sized
        for name, value in (("launch.processes", 2), ("epochs", "ten"), ("optimizer.seed", 3)):
            with pytest.raises(InputError, match=name):
                apply(sized, {"hyperparameters": json.dumps({"model": model, "values": {name: value}})})
        found = {"hyperparameters": json.dumps({"model": model, "values": {"epochs": 7}})}
        assert apply(sized, found).digest_settings == sized.replace(epochs=7).digest_settings


def test_models_that_cannot_be_tuned_are_refused(tiny_run):
    with pytest.raises(InputError, match="retriever is not given"), tunable("ranker", Path(), None, "tiny"):
        pass
    with pytest.raises(InputError, match="model is 'sorter'"), tunable("sorter", Path(), None, "tiny"):
        pass
