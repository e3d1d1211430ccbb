"""SIGKILL at ten random times of one run: each loses at most a checkpoint interval, and the results do not change."""

import os
import random
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file

from components.shared.storage import read_json
from components.shared.tests.workers import run_small_worker

KILLS, EVERY, EPOCHS = 10, 5, 8
SETTINGS = {"sharding": ["table_wise"], "epochs": EPOCHS, "checkpoint_every": EVERY}


@dataclass(frozen=True)
class StartedStep:
    """A line of the ledger: a step that a worker started; step 0 is the start of the worker, before it resumes."""

    attempt: int
    rank: int
    process: int
    step: int
    rows: int


def ledger(folder: Path) -> list[StartedStep]:
    path = folder / "table_wise" / "ledger"
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
    return [StartedStep(*map(int, line.split())) for line in whole.splitlines()]


def half_written(folder: Path) -> set[str]:
    """Return the incomplete checkpoints, in `checkpoints` and in `best`."""
    return {str(path) for path in folder.glob("table_wise/*/step_*") if not (path / ".metadata").exists()}


def running(process: int) -> bool:
    """Return whether a process exists and has not ended; a zombie has ended."""
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Killer(threading.Thread):
    """Kills one worker of each attempt: at its start, while a checkpoint is written, or at a random time in a step."""

    def __init__(self, folder: Path, steps: int, seed: int):
        super().__init__(daemon=True)
        self.folder, self.random, self.stop = folder, random.Random(seed), threading.Event()
        self.kill_steps = sorted(self.random.sample(range(1, steps - 30), KILLS))
        self.kinds = ["start"] * 2 + ["writing"] * 4 + ["step"] * 4
        self.random.shuffle(self.kinds)
        self.killed: list[tuple[str, int]] = []
        self.left: list[set[str]] = []

    def run(self) -> None:
        for attempt, (kill_step, kind) in enumerate(zip(self.kill_steps, self.kinds, strict=True)):
            workers = self._workers(attempt, 0 if kind == "start" else kill_step)
            if kind == "writing":
                self._wait(lambda: half_written(self.folder))
            else:
                time.sleep(self.random.uniform(0, 0.05))
            if self.stop.is_set():
                return
            victim = self.random.choice(workers)
            os.kill(victim, signal.SIGKILL)
            self.killed.append((kind, victim))
            # The other worker ends, too, and writes nothing more.
            self._wait(lambda workers=workers: not any(running(worker) for worker in workers))
            self.left.append(half_written(self.folder))

    def _workers(self, attempt: int, step: int) -> list[int]:
        """Return the processes of an attempt once both have started `step`."""

        def found() -> list[int]:
            started = {one.process for one in ledger(self.folder) if one.attempt == attempt and one.step >= step}
            return sorted(started) if len(started) == 2 else []

        self._wait(found)
        return found()

    def _wait(self, ready) -> None:
        while not self.stop.is_set() and not ready():
            time.sleep(0.001)


@dataclass(frozen=True)
class Runs:
    """An uninterrupted run, and one whose workers were killed."""

    uninterrupted: Path
    killed: Path
    killer: Killer


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Runs:
    root = tmp_path_factory.mktemp("kills")
    run_small_worker(root / "calm", 2, **SETTINGS)
    killer = Killer(root / "killed", max(one.step for one in ledger(root / "calm")), seed=11)
    killer.start()
    try:
        run_small_worker(root / "killed", 2, restarts=KILLS, **SETTINGS)
    finally:
        killer.stop.set()
        killer.join()
    return Runs(root / "calm", root / "killed", killer)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_each_attempt_is_killed_and_some_kills_leave_partial_checkpoints(runs):
    assert [kind for kind, _ in runs.killer.killed] == runs.killer.kinds
    started = ledger(runs.killed)
    victims = [victim for _, victim in runs.killer.killed]
    attempts = [{one.attempt for one in started if one.process == victim} for victim in victims]
    assert attempts == [{attempt} for attempt in range(KILLS)], "one of each attempt"
    assert {one.attempt for one in started} == set(range(KILLS + 1)), "and the last attempt ended by itself"
    assert any(runs.killer.left), "a checkpoint was cut off in the middle"


@pytest.mark.slow
def test_each_kill_loses_at_most_one_checkpoint_interval(runs):
    started, reached = ledger(runs.killed), 0
    for attempt in range(KILLS + 1):
        steps = [one.step for one in started if one.attempt == attempt and one.step]
        if steps:
            assert 0 <= reached + 1 - min(steps) <= EVERY, f"attempt {attempt} began at {min(steps)} after {reached}"
            reached = max(steps)
    assert reached == max(one.step for one in ledger(runs.uninterrupted))


@pytest.mark.slow
def test_resumed_workers_read_the_batches_of_an_uninterrupted_run(runs):
    uninterrupted = {(one.rank, one.step): one.rows for one in ledger(runs.uninterrupted)}
    assert len(set(uninterrupted.values())) > 0.9 * len(uninterrupted), "batches differ from each other"
    assert all(one.rows == uninterrupted[one.rank, one.step] for one in ledger(runs.killed))


@pytest.mark.slow
def test_metrics_and_weights_equal_those_of_an_uninterrupted_run(runs):
    uninterrupted, killed = ([{name: value for name, value in point.items() if name != "seconds"}
                     for point in read_json(folder / "table_wise" / "curve.json")]
                    for folder in (runs.uninterrupted, runs.killed))  # fmt: skip
    assert killed == uninterrupted and len(uninterrupted) == EPOCHS
    for name in ("weights.safetensors", "trained_rows.safetensors"):
        one, other = (load_file(folder / "table_wise" / name) for folder in (runs.killed, runs.uninterrupted))
        assert one.keys() == other.keys() and one
        for key in one:
            np.testing.assert_array_equal(one[key], other[key], err_msg=key)
