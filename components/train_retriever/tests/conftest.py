"""Fixtures that run the real trainer under the real torchrun on small data, and a helper that kills workers."""

import contextlib
import dataclasses
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from components.shared.errors import TrainingError
from components.shared.tests.starts import own_processes
from components.shared.training.launch import LaunchConfig
from components.shared.training.optimizer import OptimizerConfig
from components.train_retriever.config import RetrieverTraining, SamplingConfig
from components.train_retriever.train import train

CONFIG = RetrieverTraining(
    sampling=SamplingConfig(batch_size=256, seed=7), embedding_dim=8, hidden_dim=16, epochs=2, checkpoint_every=3,
    optimizer=OptimizerConfig(seed=7),
)  # fmt: skip
"""Twelve steps per epoch."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained model folder, or the error that prevented it."""

    folder: Path
    error: TrainingError | None


def workers_of(checkpoints: Path) -> list[int]:
    """IDs of the worker processes that train into `checkpoints`, without torchrun itself."""
    pids = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if any(str(checkpoints) in argument for argument in arguments) and "torch.distributed.run" not in arguments:
            pids.append(int(process.name))
    return sorted(pids)


def complete_steps(checkpoints: Path) -> list[int]:
    """Steps of the complete checkpoints of the only run in a persistent folder."""
    found = checkpoints.glob("*/checkpoints/step_*/.metadata")
    return sorted(int(path.parent.name.removeprefix("step_")) for path in found)


class Killer(threading.Thread):
    """Sends SIGKILL to one worker as soon as a checkpoint of a step beyond `after` is complete."""

    def __init__(self, checkpoints: Path, after: int):
        super().__init__(daemon=True)
        self.checkpoints, self.after, self.killed, self.stop = checkpoints, after, 0, threading.Event()

    def run(self) -> None:
        while not self.stop.is_set() and not self.killed:
            if any(step > self.after for step in complete_steps(self.checkpoints)):
                self.killed = workers_of(self.checkpoints)[-1]
                os.kill(self.killed, signal.SIGKILL)
            time.sleep(0.005)


@pytest.fixture(scope="session")
def fit(tiny_run, tmp_path_factory) -> Callable[..., Trained]:
    """Train with 1 or more processes; with `kill`, one worker is killed once a step beyond `after` is saved."""

    def run(
        processes: int,
        checkpoints: Path | None = None,
        kill: bool = False,
        restarts: int = 1,
        after: int = 0,
        **changes,
    ) -> Trained:
        launch = LaunchConfig(processes=processes, max_restarts=restarts, threads=1)
        folder = tmp_path_factory.mktemp("retriever")
        checkpoints = checkpoints or folder / "checkpoints"
        config = CONFIG.replace(launch=launch, **changes)
        killer, error = Killer(checkpoints, after), None
        if kill:
            killer.start()
        # Forked workers share one seed of str.__hash__, and their command lines do not show what they train.
        own = own_processes() if kill or processes > 1 else contextlib.nullcontext()
        try:
            with own:
                train(tiny_run.features, folder / "model", config, checkpoints)
        except TrainingError as caught:
            error = caught
        finally:
            killer.stop.set()
        assert bool(killer.killed) == kill, "the worker must have died in the middle"
        return Trained(folder / "model", error)

    return run


@pytest.fixture(scope="session")
def one_process(fit) -> Trained:
    """A run of one process without interruption."""
    return fit(1)


@pytest.fixture(scope="session")
def two_processes(fit) -> Trained:
    """A run of two processes without interruption."""
    return fit(2)
