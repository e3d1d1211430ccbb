"""Training under torchrun: one process and two agree, a killed run ends like an undisturbed one, the past repeats."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from components.shared.errors import InputError, TrainingError
from components.shared.storage import read_json
from components.shared.training.compute_dtype import multiplies_bfloat16
from components.shared.training.optimizer import OptimizerConfig
from components.train_retriever.config import SamplingConfig
from components.train_retriever.job import METRIC

STORED = Path(__file__).parent / "curve.json"
"""Losses and recalls of the fixed seed. Changed on purpose? Then copy the file that the failure names over it."""


def curve(trained, name: str) -> list[float]:
    return [point[name] for point in read_json(trained.folder / "curve.json")]


def weights(trained) -> dict[str, np.ndarray]:
    return load_file(trained.folder / "weights.safetensors")


def assert_near(one, other) -> None:
    """Alike up to rounding, which Adagrad and Adam magnify where a gradient is nearly zero.

    One bias is left out: the same vector added to every item cancels in the softmax, so its gradient is rounding alone.
    """
    assert one.keys() == other.keys()
    for name in one.keys() - {"item_tower.deep.2.bias"}:
        assert np.linalg.norm(one[name] - other[name]) <= 0.01 * np.linalg.norm(other[name]) + 0.005, name


@pytest.mark.slow
def test_the_fixed_seed_repeats_the_stored_curve(alone):
    stored = read_json(STORED)
    assert [point["step"] for point in stored] == curve(alone, "step") == [12, 24]
    found = alone.folder / "curve.json"
    assert curve(alone, "loss") == pytest.approx([point["loss"] for point in stored], rel=1e-3), found
    assert curve(alone, METRIC) == pytest.approx([point[METRIC] for point in stored], abs=0.004), found
    assert curve(alone, "loss")[1] < curve(alone, "loss")[0]


@pytest.mark.slow
def test_two_processes_train_the_model_that_one_does(alone, pair):
    assert curve(pair, "loss") == pytest.approx(curve(alone, "loss"), rel=1e-4)
    assert_near(weights(pair), weights(alone))


@pytest.mark.slow
def test_a_run_whose_worker_was_killed_ends_with_the_same_weights(fit, pair, tmp_path):
    killed = fit(2, tmp_path / "lasting", kill=True, restarts=2)
    assert killed.error is None
    one, other = weights(killed), weights(pair)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    for name in ("loss", METRIC, "step", "epoch"):
        assert curve(killed, name) == curve(pair, name)
    assert not list((tmp_path / "lasting").iterdir()), "checkpoints of a finished run are in nobody's way"


@pytest.mark.slow
def test_too_many_deaths_end_the_run_and_other_numbers_of_processes_take_over(fit, alone, tmp_path):
    """Two processes, then one, then two again: tables are sharded anew each time, and the curve is that of no death."""
    lasting, reached = tmp_path / "lasting", 0
    for processes in (2, 1):
        killed = fit(processes, lasting, kill=True, restarts=0, after=reached)
        assert isinstance(killed.error, TrainingError)
        assert "components.train_retriever.worker failed with exit code" in killed.error.headline
        assert "-9" in killed.error.headline
        assert not killed.folder.exists() and not list(killed.folder.parent.glob(".*partial*"))
        (work,) = lasting.iterdir()
        steps = sorted(int(path.parent.name.removeprefix("step_")) for path in work.glob("checkpoints/*/.metadata"))
        assert reached < steps[-1] < 24
        reached = steps[-1]
    resumed = fit(2, lasting)
    assert curve(resumed, "step") == [12, 24]
    assert curve(resumed, "loss") == pytest.approx(curve(alone, "loss"), rel=1e-4)
    assert curve(resumed, METRIC) == pytest.approx(curve(alone, METRIC), abs=1e-3)
    assert_near(weights(resumed), weights(alone))


@pytest.mark.slow
def test_a_loss_that_explodes_is_said_in_the_workers_own_words(fit):
    failed = fit(1, restarts=0, optimizer=OptimizerConfig(embedding_lr=1e30, dense_lr=1e30, seed=7))
    assert failed.error is not None and not failed.folder.exists()
    assert failed.error.headline.startswith("train_retriever: the loss is ")
    assert "epoch 1, step" in failed.error.headline and "learning rate" in failed.error.fix


@pytest.mark.parametrize(("processes", "batch"), [(3, 256), (7, 5)])
def test_processes_that_cannot_share_a_batch_are_refused_at_once(fit, processes, batch):
    with pytest.raises(InputError, match=f"processes is {processes}, which does not divide a batch of {batch} rows"):
        fit(processes, sampling=SamplingConfig(batch_size=batch))


@pytest.mark.slow
def test_the_model_folder_is_plain(alone):
    assert {path.name for path in alone.folder.iterdir()} == {
        "config.json",
        "weights.safetensors",
        "curve.json",
        "trained_rows.safetensors",
    }
    tables = {name for name in weights(alone) if "embedding_bags" in name}
    assert len(tables) == 10
    assert all(np.isfinite(values).all() for values in weights(alone).values())


@pytest.mark.slow
@pytest.mark.skipif(not multiplies_bfloat16(torch.device("cpu")), reason="this CPU does not multiply bfloat16")
def test_bfloat16_in_the_towers_learns_what_float32_does(fit, alone):
    rounded = fit(1, optimizer=OptimizerConfig(seed=7, compute_dtype="bfloat16"))
    assert curve(rounded, "loss") == pytest.approx(curve(alone, "loss"), rel=0.01)
    assert curve(rounded, "loss") != curve(alone, "loss")
    assert {array.dtype for array in weights(rounded).values()} == {np.dtype(np.float32)}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
def test_compiled_towers_learn_what_plain_ones_do(fit, alone):
    compiled = fit(1, optimizer=OptimizerConfig(seed=7, compile="always"))
    assert curve(compiled, "loss") == pytest.approx(curve(alone, "loss"), rel=1e-4)
    assert weights(compiled).keys() == weights(alone).keys()
