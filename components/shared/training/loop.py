"""Training loop of all models: epochs, checkpoints, resume, early stopping, learning curve.

Batches depend only on the step, so a resumed run ends with the same weights as an uninterrupted one.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
import torch.distributed as dist

from components.shared.errors import TrainingError
from components.shared.progress import report
from components.shared.training import checkpoint
from components.shared.training.exchange import SharedFolder
from components.shared.training.group import Group
from components.shared.training.optimizer import Schedule

_READ_EVERY = 20
"""Steps between reports of the loss."""


class Trainable(Protocol):
    """A model with its data, trained by the loop."""

    state: checkpoint.TrainState

    def steps_per_epoch(self) -> int:
        """Return the number of steps per epoch, the same on every rank."""
        ...

    def step(self, epoch: int, at: int) -> torch.Tensor:
        """Run step `at` of `epoch`; return this rank's share of the loss, a scalar (the sum over ranks is the loss)."""
        ...

    def validate(self) -> float:
        """Return the validation metric; higher is better, the same on every rank."""
        ...


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """Configuration of the loop."""

    stage: str
    """Name in progress reports."""
    metric: str
    """Name of the validation metric."""
    epochs: int
    """Maximum number of epochs."""
    patience: int = 2
    """Patience of early stopping: epochs without a better validation metric."""
    checkpoint_every: int = 200
    """Steps between checkpoints."""
    schedule: Schedule = "constant"
    """Schedule of the learning rates over the steps of all epochs; see OptimizerConfig."""
    stop_after: int = 0
    """Number of epochs after which training ends, with the learning rates of a training of `epochs` epochs. There is no
    validation: the last epoch's weights count as the best. 0: the metric decides."""


class Loop:
    """Runs a Trainable from its newest checkpoint to the end."""

    def __init__(self, config: LoopConfig, trainable: Trainable, group: Group, folder: Path | SharedFolder):
        self.config, self.trainable, self.group, self.folder = config, trainable, group, SharedFolder(folder)
        self.started = time.monotonic()
        self.seed = torch.initial_seed()
        self.rates = [group["lr"] for group in trainable.state.optimizer.param_groups]
        """Learning rates before the first step; a checkpoint contains those of its own step."""
        self._reported = (time.monotonic(), 0)
        """Time and step of the last progress report."""
        self.pending_losses: list[torch.Tensor] = []
        """This rank's shares of the losses since the last call of `_read_losses`."""

    def run(self) -> int:
        """Train until the last epoch or until the metric stops improving.

        Returns:
            Number of epochs of the best weights.

        Raises:
            TrainingError: the loss is no longer finite.
        """
        state = self.trainable.state
        step = checkpoint.resume(state, self.folder / "checkpoints")
        curve = [point for point in self._old_curve() if point["step"] <= step]
        if curve:
            self.started -= curve[-1]["seconds"]
        steps = self.trainable.steps_per_epoch()
        last = self.config.stop_after or self.config.epochs
        while step < steps * last and not self._exhausted(step // steps):
            epoch = step // steps
            for at in range(step % steps, steps):
                self._set_rates(step / (steps * self.config.epochs))
                self._step(epoch, at)
                step += 1
                saving = step % self.config.checkpoint_every == 0
                if at % _READ_EVERY == 0 or saving or step % steps == 0:
                    loss = self._read_losses(epoch, at)
                    if at % _READ_EVERY == 0:
                        rate = self._rate(step)
                        self._report(step / (steps * last), f"epoch {epoch + 1}/{last} loss {loss:.4f}{rate}")
                if saving and step % steps:
                    checkpoint.save(state, self.folder / "checkpoints", step)
            metric = None if self.config.stop_after else self._agreed(self.trainable.validate())
            curve.append(self._point(step, epoch, float(state.epoch_loss) / steps, metric))
            state.epoch_loss.zero_()
            if self.group.rank == 0:
                self.folder.write_json("curve.json", curve)
            self._note(metric, epoch, step)
            note = f"{self.config.metric} {metric:.4f}" if metric is not None else f"of {last} done"
            self._report(step / (steps * last), f"epoch {epoch + 1} {note}")
        return int(state.best[1]) + 1

    def _rate(self, step: int) -> str:
        """Return steps per second since the last report; empty at the first report."""
        now, (then, before) = time.monotonic(), self._reported
        self._reported = now, step
        return f" {(step - before) / (now - then):.1f} steps/s" if before and now > then else ""

    def _set_rates(self, done: float) -> None:
        """Set learning rates from the completed share of all steps, so that a resumed run uses the same rates."""
        left = 1.0 - done if self.config.schedule == "linear" else 1.0
        groups = cast(list[dict[str, Any]], self.trainable.state.optimizer.param_groups)
        for group, rate in zip(groups, self.rates, strict=True):
            group["lr"] = rate * left

    def _step(self, epoch: int, at: int) -> None:
        # Random draws of the model, such as dropout, depend on step and rank, because each rank has its own rows.
        sequence = np.random.SeedSequence([self.seed, epoch, at, self.group.rank])
        torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))
        self.pending_losses.append(self.trainable.step(epoch, at).detach().double().clone())

    def _read_losses(self, epoch: int, at: int) -> float:
        """Add the losses up to step `at` to the epoch's and return the last; only this waits for a GPU, not each step.

        Raises:
            TrainingError: a loss is not finite.
        """
        losses = torch.stack(self.pending_losses)
        dist.all_reduce(losses)
        self.pending_losses, found = [], losses.tolist()
        for step, loss in enumerate(found, at + 2 - len(found)):
            if not math.isfinite(loss):
                raise TrainingError(
                    f"{self.config.stage}: the loss is {loss} at epoch {epoch + 1}, step {step}",
                    "lower the learning rate, or check the data for infinite values",
                )
            self.trainable.state.epoch_loss += loss
        return found[-1]

    def _agreed(self, metric: float) -> float:
        """Return rank 0's metric on every rank, so that all ranks agree on the best epoch."""
        found = torch.tensor([metric], dtype=torch.float64, device=self.group.device)
        dist.broadcast(found, 0)
        if not torch.isfinite(found):
            raise TrainingError(
                f"{self.config.stage}: {self.config.metric} is {found.item()}",
                "check the validation rows for infinite values",
            )
        return float(found)

    def _note(self, metric: float | None, epoch: int, step: int) -> None:
        """Record the best epoch and save checkpoints: the best in `best/`, the newest (to resume) in `checkpoints/`."""
        state = self.trainable.state
        better = epoch + 1 == self.config.stop_after if metric is None else metric > float(state.best[0])
        if better:
            state.best[:] = torch.tensor([-torch.inf if metric is None else metric, epoch], dtype=torch.float64)
            checkpoint.save(state, self.folder / "best", step)
        checkpoint.save(state, self.folder / "checkpoints", step)

    def _exhausted(self, epoch: int) -> bool:
        best = int(self.trainable.state.best[1])
        return best >= 0 and epoch - 1 - best >= self.config.patience

    def _point(self, step: int, epoch: int, loss: float, metric: float | None) -> dict:
        point = {"step": step, "epoch": epoch + 1, "loss": loss, "seconds": round(time.monotonic() - self.started, 2)}
        return point if metric is None else {**point, self.config.metric: metric}

    def _old_curve(self) -> list[dict]:
        return self.folder.read_json("curve.json") if self.folder.exists("curve.json") else []

    def _report(self, share: float, note: str) -> None:
        if self.group.rank == 0:
            report(self.config.stage, share, f"refit, {note}" if self.config.stop_after else note)
