"""The training loop with a small real model: early stopping, checkpoints, resuming, the learning curve."""

import shutil

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torchrec.optim.keyed import CombinedOptimizer, KeyedOptimizerWrapper

from components.shared.errors import TrainingError
from components.shared.storage import read_json
from components.shared.training import checkpoint
from components.shared.training.curve import best_point
from components.shared.training.group import Group
from components.shared.training.loop import Loop, LoopConfig
from components.shared.training.optimizer import Schedule

STEPS = 5


class Interrupted(Exception):
    """Simulates the end of the process."""


class Line:
    """Fits a linear model to points generated from the step; validation returns the given metrics."""

    def __init__(self, metrics: list[float], interrupt_at: int = 0, nan_at: int = 0):
        torch.manual_seed(0)
        self.model = nn.Linear(3, 1)
        wrapped = KeyedOptimizerWrapper(
            dict(self.model.named_parameters()), lambda weights: torch.optim.Adam(weights, lr=0.1)
        )
        self.optimizer = CombinedOptimizer([wrapped])
        self.state = checkpoint.TrainState(self.model, self.optimizer)
        self.metrics, self.interrupt_at, self.nan_at, self.validated = metrics, interrupt_at, nan_at, 0
        self.rates: list[float] = []

    def steps_per_epoch(self) -> int:
        return STEPS

    def step(self, epoch: int, at: int) -> torch.Tensor:
        now = epoch * STEPS + at + 1
        if now == self.interrupt_at:
            raise Interrupted
        points = torch.randn(8, 3, generator=torch.Generator().manual_seed(now))
        self.rates += [group["lr"] for group in self.optimizer.param_groups]
        self.optimizer.zero_grad()
        # Dropout draws from torch's global generator, which is not part of a checkpoint.
        loss = (self.model(nn.functional.dropout(points, 0.1))[:, 0] - points.sum(1)).square().mean()
        loss.backward()
        self.optimizer.step()
        self.epoch = epoch
        return loss * torch.nan if now == self.nan_at else loss

    def validate(self) -> float:
        self.validated += 1
        return self.metrics[self.epoch]


@pytest.fixture(autouse=True)
def group():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture
def run(tmp_path):
    def train(
        line: Line, epochs: int = 4, patience: int = 9, every: int = 2, schedule: Schedule = "constant",
        stop_after: int = 0,
    ) -> list[dict]:  # fmt: skip
        config = LoopConfig(stage="line", metric="quality", epochs=epochs, patience=patience, checkpoint_every=every,
                            schedule=schedule, stop_after=stop_after)  # fmt: skip
        Loop(config, line, Group(0, 1, torch.device("cpu")), tmp_path).run()
        return read_json(tmp_path / "curve.json")

    return train


def without_time(curve: list[dict]) -> list[dict]:
    return [{name: value for name, value in point.items() if name != "seconds"} for point in curve]


def test_early_stopping_and_best_checkpoint_with_negative_metrics(run, tmp_path):
    curve = run(Line([-3.0, -1.2, -1.5, -1.4, 0.9]), epochs=5, patience=2)
    assert [point["quality"] for point in curve] == [-3.0, -1.2, -1.5, -1.4] and (tmp_path / "best").is_dir()


def test_nan_metric_ends_the_run(run):
    with pytest.raises(TrainingError, match="line: quality is nan"):
        run(Line([0.1, float("nan")]), epochs=2)


def test_training_stops_when_the_metric_no_longer_improves(run, tmp_path):
    line = Line([0.1, 0.4, 0.3, 0.4, 0.9])
    curve = run(line, epochs=5, patience=2)
    assert [point["quality"] for point in curve] == [0.1, 0.4, 0.3, 0.4] and line.validated == 4
    assert best_point(curve, "quality")["epoch"] == 2
    assert checkpoint.complete(tmp_path / "best")[-1] == 2 * STEPS


def test_training_runs_all_epochs_while_the_metric_improves(run):
    assert [point["step"] for point in run(Line([0.1, 0.2, 0.3, 0.4]))] == [5, 10, 15, 20]


def test_exported_weights_are_those_of_the_best_epoch(run, tmp_path):
    best = Line([0.9])
    run(best, epochs=1)
    shutil.rmtree(tmp_path / "checkpoints")
    shutil.rmtree(tmp_path / "best")
    run(Line([0.9, 0.1, 0.1]), epochs=3)
    exported = nn.Linear(3, 1)
    checkpoint.export_weights(exported, tmp_path, tmp_path)
    assert torch.equal(exported.weight, best.model.weight)


def test_learning_rates_of_the_linear_and_the_constant_schedule(run, tmp_path):
    falling, constant = Line([0.1, 0.2]), Line([0.1, 0.2])
    run(falling, epochs=2, schedule="linear")
    assert falling.rates == pytest.approx([0.1 * (10 - step) / 10 for step in range(10)])
    shutil.rmtree(tmp_path)
    run(constant, epochs=2)
    assert constant.rates == [0.1] * 10


@pytest.mark.parametrize("schedule", ["constant", "linear"])
@pytest.mark.parametrize("at", [1, 3, 4, 6, 8, 20])
def test_resumed_run_equals_an_uninterrupted_one(run, tmp_path, at, schedule):
    metrics = [0.1, 0.3, 0.2, 0.4]
    whole = Line(metrics)
    curve = run(whole, schedule=schedule)
    for name in ("checkpoints", "best"):
        shutil.rmtree(tmp_path / name)
    (tmp_path / "curve.json").unlink()
    with pytest.raises(Interrupted):
        run(Line(metrics, interrupt_at=at), schedule=schedule)
    resumed = Line(metrics)
    assert without_time(run(resumed, schedule=schedule)) == without_time(curve)
    assert torch.equal(resumed.model.weight, whole.model.weight)
    assert checkpoint.complete(tmp_path / "best")[-1] == 20


@pytest.mark.parametrize("at", [1, 3, 6, 8])
def test_run_with_stop_after_equals_the_first_epochs_of_a_longer_run(run, tmp_path, at):
    whole = Line([0.1, 0.3, 0.2, 0.1])
    curve = run(whole, schedule="linear")
    kept = nn.Linear(3, 1)
    checkpoint.export_weights(kept, tmp_path, tmp_path)
    shutil.rmtree(tmp_path)
    with pytest.raises(Interrupted):
        run(Line([], interrupt_at=at), schedule="linear", stop_after=2)
    short = Line([])
    assert without_time(run(short, schedule="linear", stop_after=2)) == [
        {name: point[name] for name in ("step", "epoch", "loss")} for point in curve[:2]
    ]
    assert short.validated == 0 and torch.equal(short.model.weight, kept.weight)
    assert checkpoint.complete(tmp_path / "best") == [2 * STEPS]


def test_finished_run_is_not_trained_again(run):
    curve = run(Line([0.1, 0.2, 0.3, 0.4]))
    again = Line([0.1, 0.2, 0.3, 0.4])
    assert run(again) == curve and again.validated == 0


def test_early_stopped_run_is_not_continued(run):
    run(Line([0.5, 0.1, 0.1, 0.9]), patience=2)
    again = Line([0.5, 0.1, 0.1, 0.9])
    assert len(run(again, patience=2)) == 3 and again.validated == 0


def test_incomplete_checkpoint_is_ignored(run, tmp_path):
    whole = Line([0.1, 0.2, 0.3, 0.4])
    run(whole)
    newest = checkpoint.complete(tmp_path / "checkpoints")[-1]
    (tmp_path / "checkpoints" / f"step_{newest}" / ".metadata").unlink()
    assert checkpoint.complete(tmp_path / "checkpoints")[-1] < newest
    resumed = Line([0.1, 0.2, 0.3, 0.4])
    run(resumed)
    assert torch.equal(resumed.model.weight, whole.model.weight)


def test_only_the_latest_two_checkpoints_are_kept(run, tmp_path):
    run(Line([0.1, 0.2, 0.3, 0.4]), every=1)
    assert checkpoint.complete(tmp_path / "checkpoints") == [19, 20]
    assert checkpoint.complete(tmp_path / "best") == [15, 20]


def test_nan_loss_ends_the_run(run, tmp_path):
    with pytest.raises(TrainingError, match="line: the loss is nan at epoch 2, step 3"):
        run(Line([0.1] * 4, nan_at=8))
    assert checkpoint.complete(tmp_path / "checkpoints")[-1] == 6


def test_export_without_a_validated_checkpoint_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="without a validated checkpoint"):
        checkpoint.export_weights(nn.Linear(3, 1), tmp_path, tmp_path)
