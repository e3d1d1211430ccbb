"""Training under torchrun: one and two processes agree, killed runs resume, and the stored curve is reproduced."""

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
"""Losses and recalls of the fixed seed. After an intended change, replace it with the file that the failure names."""


def curve(trained, name: str) -> list[float]:
    return [point[name] for point in read_json(trained.folder / "curve.json")]


def weights(trained) -> dict[str, np.ndarray]:
    return load_file(trained.folder / "weights.safetensors")


def assert_near(one, other) -> None:
    """Equal up to rounding, which Adagrad and Adam amplify where a gradient is nearly zero.

    One bias is skipped: the same vector added to every item cancels in the softmax, so its gradient is only rounding.
    """
    assert one.keys() == other.keys()
    for name in one.keys() - {"item_tower.deep.2.bias"}:
        assert np.linalg.norm(one[name] - other[name]) <= 0.01 * np.linalg.norm(other[name]) + 0.005, name


@pytest.mark.slow
def test_fixed_seed_reproduces_the_stored_curve(one_process):
    stored = read_json(STORED)
    assert [point["step"] for point in stored] == curve(one_process, "step") == [12, 24]
    found = one_process.folder / "curve.json"
    assert curve(one_process, "loss") == pytest.approx([point["loss"] for point in stored], rel=1e-3), found
    assert curve(one_process, METRIC) == pytest.approx([point[METRIC] for point in stored], abs=0.004), found
    assert curve(one_process, "loss")[1] < curve(one_process, "loss")[0]


@pytest.mark.slow
def test_two_processes_train_the_same_model_as_one(one_process, two_processes):
    assert curve(two_processes, "loss") == pytest.approx(curve(one_process, "loss"), rel=1e-4)
    assert_near(weights(two_processes), weights(one_process))


@pytest.mark.slow
def test_run_with_a_killed_worker_ends_with_the_same_weights(fit, two_processes, tmp_path):
    killed = fit(2, tmp_path / "lasting", kill=True, restarts=2)
    assert killed.error is None
    one, other = weights(killed), weights(two_processes)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    for name in ("loss", METRIC, "step", "epoch"):
        assert curve(killed, name) == curve(two_processes, name)
    assert not list((tmp_path / "lasting").iterdir()), "checkpoints of a finished run are in nobody's way"


@pytest.mark.slow
def test_failed_run_resumes_with_another_number_of_processes(fit, one_process, tmp_path):
    """Two processes, one and two again, with tables resharded each time; the curve matches an uninterrupted run."""
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
    assert curve(resumed, "loss") == pytest.approx(curve(one_process, "loss"), rel=1e-4)
    assert curve(resumed, METRIC) == pytest.approx(curve(one_process, METRIC), abs=1e-3)
    assert_near(weights(resumed), weights(one_process))


@pytest.mark.slow
def test_diverging_loss_is_reported_with_the_message_of_the_worker(fit):
    failed = fit(1, restarts=0, optimizer=OptimizerConfig(embedding_lr=1e30, dense_lr=1e30, seed=7))
    assert failed.error is not None and not failed.folder.exists()
    assert failed.error.headline.startswith("train_retriever: the loss is ")
    assert "epoch 1, step" in failed.error.headline and "learning rate" in failed.error.fix


@pytest.mark.parametrize(("processes", "batch"), [(3, 256), (7, 5)])
def test_processes_that_do_not_divide_the_batch_are_refused(fit, processes, batch):
    with pytest.raises(InputError, match=f"processes is {processes}, which does not divide a batch of {batch} rows"):
        fit(processes, sampling=SamplingConfig(batch_size=batch))


@pytest.mark.slow
def test_model_folder_contains_only_the_expected_files(one_process):
    assert {path.name for path in one_process.folder.iterdir()} == {
        "config.json",
        "weights.safetensors",
        "curve.json",
        "trained_rows.safetensors",
    }
    tables = {name for name in weights(one_process) if "embedding_bags" in name}
    assert len(tables) == 10
    assert all(np.isfinite(values).all() for values in weights(one_process).values())


@pytest.mark.slow
@pytest.mark.skipif(not multiplies_bfloat16(torch.device("cpu")), reason="this CPU does not multiply bfloat16")
def test_bfloat16_towers_learn_nearly_the_same_as_float32(fit, one_process):
    rounded = fit(1, optimizer=OptimizerConfig(seed=7, compute_dtype="bfloat16"))
    assert curve(rounded, "loss") == pytest.approx(curve(one_process, "loss"), rel=0.01)
    assert curve(rounded, "loss") != curve(one_process, "loss")
    assert {array.dtype for array in weights(rounded).values()} == {np.dtype(np.float32)}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
def test_compiled_towers_match_uncompiled_ones(fit, one_process):
    compiled = fit(1, optimizer=OptimizerConfig(seed=7, compile="always"))
    assert curve(compiled, "loss") == pytest.approx(curve(one_process, "loss"), rel=1e-4)
    assert weights(compiled).keys() == weights(one_process).keys()
