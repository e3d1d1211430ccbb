"""The throughput command: every variant trains the same model on the same rows, and its tables are correct."""

import dataclasses
import json
import os
import shutil
import warnings

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from components.shared.training.group import process_group
from components.shared.training.launch import LaunchConfig, WorkerTask
from components.shared.training.process import Torchrun
from tests.benchmarks.throughput import profiling, results
from tests.benchmarks.throughput.__main__ import ThroughputFailed, check_same_model, pool
from tests.benchmarks.throughput.data import Shape, generate, in_memory, zipf
from tests.benchmarks.throughput.measures import SEQUENCE_MEASURES, WorkerJob
from tests.benchmarks.throughput.profiling import bound, group_of
from tests.benchmarks.throughput.worker import measure

SHAPE = Shape(rows=4_000, dim=8, bottom=(16,), top=(16,))
BATCH = 256


@pytest.fixture(scope="module")
def clicks(tmp_path_factory):
    path = tmp_path_factory.mktemp("throughput") / "clicks.parquet"
    generate(path, SHAPE)
    return path


@pytest.fixture(scope="module")
def group():
    names = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1",
             "MASTER_PORT": "29713"}  # fmt: skip
    before = dict(os.environ)
    os.environ.update(names)
    with process_group() as joined:
        yield joined
    os.environ.clear()
    os.environ.update(before)


def job(path, name, precision="float32", compiled="gpu"):
    return WorkerJob(measure=name, data=str(path), shape=dataclasses.asdict(SHAPE), folder="", batch=BATCH, steps=3,
                     seconds=5.0, precision=precision, compiled=compiled, warm=2)  # fmt: skip


@pytest.fixture(scope="module")
def figures(clicks, group):
    rows = results.variants((), ("float32",), 2)
    found = {
        row.name: measure(job(clicks, row.measure), group)
        for row in rows
        if row.processes == 1 and row.compiled == "gpu"
    }
    return {name: pool([one]) for name, one in found.items()}


def test_every_variant_starts_at_the_same_loss_and_learns(figures):
    losses = {name: one["first_loss"] for name, one in figures.items() if not name.startswith("ceiling")}
    assert len(losses) == 6
    assert max(losses.values()) == pytest.approx(min(losses.values()), rel=1e-6)
    assert all(figures[name]["last_loss"] != losses[name] for name in losses)


def test_two_processes_train_the_same_model(clicks, figures, tmp_path):
    settings = dataclasses.asdict(job(clicks, "ours"))
    del settings["folder"]
    task = WorkerTask(stage="throughput", module="tests.benchmarks.throughput.worker", digest="", settings=settings,
                      inputs={}, results=())  # fmt: skip
    Torchrun(LaunchConfig(processes=2, max_restarts=0, threads=1)).run(task, tmp_path)
    found = json.loads((tmp_path / "result.json").read_text())
    alone = figures["ours-1-float32"]
    assert found["first_loss"] == pytest.approx(alone["first_loss"], rel=1e-6)
    assert found["last_loss"] == pytest.approx(alone["last_loss"], rel=1e-4), "the same batches, whoever reads them"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # Dynamo inspects all tensors
def test_compiled_layers_train_the_same_model(clicks, figures, group):
    compiled_rows = [row for row in results.variants((), ("float32",)) if row.compiled == "always"]
    assert [row.measure for row in compiled_rows] == ["ours", "plain_flat", "plain_dense"]
    found = measure(job(clicks, "ours", compiled="always"), group)
    assert found["first_loss"] == pytest.approx(figures["ours-1-float32"]["first_loss"], rel=1e-5)
    assert found["last_loss"] == pytest.approx(figures["ours-1-float32"]["last_loss"], rel=1e-4)


def test_variant_with_another_loss_is_refused_by_name(figures):
    rows = tuple(row for row in results.variants((), ("float32",)) if row.name in figures)
    check_same_model(rows, figures)
    wrong = {**figures, "plain_flat-1-float32": {**figures["plain_flat-1-float32"], "first_loss": 0.1}}
    with pytest.raises(ThroughputFailed, match=r"plain_flat-1-float32 begins at a loss of 0\.1"):
        check_same_model(rows, wrong)


def test_table_ratios_match_the_speeds(figures):
    rows = results.variants((), ("float32",))
    lines = [line for line in results.table(rows, figures).splitlines()[2:]]
    assert len(lines) == len(figures)
    best = max(one["samples_per_second"] for name, one in figures.items() if name.startswith("plain"))
    for line, row in zip(lines, [row for row in rows if row.name in figures], strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        speed = figures[row.name]["samples_per_second"]
        assert cells[0] == row.label and cells[2].startswith(f"{speed:,.0f} ")
        assert float(cells[3]) == float(cells[4]) == pytest.approx(speed / best, abs=0.006)
    assert f"{figures['ours-1-float32']['samples_per_second']:,.0f}" in lines[0]


def test_gpu_ratios_are_relative_to_the_torchrec_dlrm(figures):
    rows = results.gpu_variants(("float32",), 1)
    ours, own = (figures[row.name]["samples_per_second"] for row in rows)
    lines = results.gpu_table(rows, figures).splitlines()[2:]
    assert [line.split("|")[5].strip() for line in lines] == [f"{ours / own:.2f}", "1.00"]
    assert check_same_model(rows, figures) is None


def test_sequence_variants_have_the_same_losses_and_tokens(clicks, group):
    found = {one.__name__: measure(job(clicks, one.__name__), group) for one in SEQUENCE_MEASURES}
    assert found["jagged_attention"]["first_loss"] == pytest.approx(found["padded_sasrec"]["first_loss"], rel=1e-6)
    assert found["jagged_attention"]["last_loss"] == pytest.approx(found["padded_sasrec"]["last_loss"], rel=1e-4)
    assert len({one["tokens_per_sample"] for one in found.values()}) == 1
    text = results.sequence_table({name: pool([one]) for name, one in found.items()})
    assert "| 1.00 |" in next(line for line in text.splitlines() if "SASRec of the same" in line)


def test_profile_shares_sum_to_one_and_operations_are_grouped(clicks, group):
    shares = profiling.profile(job(clicks, "ours"), group)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert all(shares[name] > 0 for name in ("GEMM", "embedding update", "embedding lookup", "input", "interaction"))
    assert group_of("aten::mm") == "GEMM" and group_of("c10d::allreduce_") == "communication"
    assert group_of("something::else") == "other"
    assert bound({"GEMM": 0.6, "input": 0.3}).startswith("GEMM takes 60% of a step and input 30%: matrix products")


def test_generated_ids_are_skewed_and_in_range(clicks):
    ids, numbers, label = in_memory(clicks, SHAPE, 1_000)
    assert ids.shape == (1_000, 26) and numbers.shape == (1_000, 13) and len(label) == 1_000
    assert ids.min() >= 0 and ids.max() < SHAPE.table_rows
    assert np.array_equal(ids[:, 3], pq.read_table(clicks)["c3"].to_numpy()[:1_000])
    counts = np.sort(np.bincount(zipf(np.random.default_rng(0).random(100_000), 1_000), minlength=1_000))[::-1]
    assert counts[0] > 50 * counts[500] > 0


def test_gpu_pipeline_has_the_same_losses(clicks, group):
    from torchrec.distributed.train_pipeline import TrainPipelineSparseDist

    from tests.benchmarks.throughput.ours import DlrmTraining

    base, sparse = (DlrmTraining(clicks, SHAPE, BATCH, group) for _ in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sparse.pipeline = TrainPipelineSparseDist(sparse.model, sparse.optimizer, torch.device("cpu"))
        losses = [[float(one.step(number)) for number in range(6)] for one in (base, sparse)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert len(set(losses[0])) == 6
