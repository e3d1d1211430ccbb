"""SIGKILL at ten random moments of one run: it loses at most a checkpoint interval each time and ends the same."""

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
from components.shared.tests.workers import work

KILLS, EVERY, EPOCHS = 10, 5, 8
SETTINGS = {"sharding": ["table_wise"], "epochs": EPOCHS, "checkpoint_every": EVERY}


@dataclass(frozen=True)
class Begun:
    """A line of the ledger: a step that a worker began; step 0 is its start, before it has resumed."""

    attempt: int
    rank: int
    process: int
    step: int
    rows: int


def ledger(folder: Path) -> list[Begun]:
    path = folder / "table_wise" / "ledger"
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
    return [Begun(*map(int, line.split())) for line in whole.splitlines()]


def half_written(folder: Path) -> set[str]:
    """Checkpoints, of either kind, that are not whole."""
    return {str(path) for path in folder.glob("table_wise/*/step_*") if not (path / ".metadata").exists()}


def running(process: int) -> bool:
    """Whether a process exists and has not ended; one that nobody waited for yet has."""
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Killer(threading.Thread):
    """Kills one worker of each attempt: as it starts, while a checkpoint is written, or at any moment of a step."""

    def __init__(self, folder: Path, steps: int, seed: int):
        super().__init__(daemon=True)
        self.folder, self.random, self.stop = folder, random.Random(seed), threading.Event()
        self.moments = sorted(self.random.sample(range(1, steps - 30), KILLS))
        self.kinds = ["start"] * 2 + ["writing"] * 4 + ["step"] * 4
        self.random.shuffle(self.kinds)
        self.killed: list[tuple[str, int]] = []
        self.left: list[set[str]] = []

    def run(self) -> None:
        for attempt, (moment, kind) in enumerate(zip(self.moments, self.kinds, strict=True)):
            workers = self._workers(attempt, 0 if kind == "start" else moment)
            if kind == "writing":
                self._wait(lambda: half_written(self.folder))
            else:
                time.sleep(self.random.uniform(0, 0.05))
            if self.stop.is_set():
                return
            victim = self.random.choice(workers)
            os.kill(victim, signal.SIGKILL)
            self.killed.append((kind, victim))
            # Its peer ends too, and writes nothing more.
            self._wait(lambda workers=workers: not any(running(worker) for worker in workers))
            self.left.append(half_written(self.folder))

    def _workers(self, attempt: int, step: int) -> list[int]:
        """The processes of an attempt, once both have begun `step`."""

        def found() -> list[int]:
            begun = {one.process for one in ledger(self.folder) if one.attempt == attempt and one.step >= step}
            return sorted(begun) if len(begun) == 2 else []

        self._wait(found)
        return found()

    def _wait(self, ready) -> None:
        while not self.stop.is_set() and not ready():
            time.sleep(0.001)


@dataclass(frozen=True)
class Runs:
    """An undisturbed run, and one whose workers were killed."""

    calm: Path
    killed: Path
    killer: Killer


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Runs:
    root = tmp_path_factory.mktemp("kills")
    work(root / "calm", 2, **SETTINGS)
    killer = Killer(root / "killed", max(one.step for one in ledger(root / "calm")), seed=11)
    killer.start()
    try:
        work(root / "killed", 2, restarts=KILLS, **SETTINGS)
    finally:
        killer.stop.set()
        killer.join()
    return Runs(root / "calm", root / "killed", killer)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_kill_hit_and_some_left_half_a_checkpoint(runs):
    assert [kind for kind, _ in runs.killer.killed] == runs.killer.kinds
    begun = ledger(runs.killed)
    victims = [victim for _, victim in runs.killer.killed]
    attempts = [{one.attempt for one in begun if one.process == victim} for victim in victims]
    assert attempts == [{attempt} for attempt in range(KILLS)], "one of each attempt"
    assert {one.attempt for one in begun} == set(range(KILLS + 1)), "and the last attempt ended by itself"
    assert any(runs.killer.left), "a checkpoint was cut off in the middle"


@pytest.mark.slow
def test_no_kill_costs_more_than_a_checkpoint_interval(runs):
    begun, reached = ledger(runs.killed), 0
    for attempt in range(KILLS + 1):
        steps = [one.step for one in begun if one.attempt == attempt and one.step]
        if steps:
            assert 0 <= reached + 1 - min(steps) <= EVERY, f"attempt {attempt} began at {min(steps)} after {reached}"
            reached = max(steps)
    assert reached == max(one.step for one in ledger(runs.calm))


@pytest.mark.slow
def test_resumed_workers_read_the_very_batches_of_an_undisturbed_run(runs):
    calm = {(one.rank, one.step): one.rows for one in ledger(runs.calm)}
    assert len(set(calm.values())) > 0.9 * len(calm), "batches differ from each other"
    assert all(one.rows == calm[one.rank, one.step] for one in ledger(runs.killed))


@pytest.mark.slow
def test_metrics_and_weights_are_those_of_an_undisturbed_run(runs):
    calm, killed = ([{name: value for name, value in point.items() if name != "seconds"}
                     for point in read_json(folder / "table_wise" / "curve.json")]
                    for folder in (runs.calm, runs.killed))  # fmt: skip
    assert killed == calm and len(calm) == EPOCHS
    for name in ("weights.safetensors", "trained_rows.safetensors"):
        one, other = (load_file(folder / "table_wise" / name) for folder in (runs.killed, runs.calm))
        assert one.keys() == other.keys() and one
        for key in one:
            np.testing.assert_array_equal(one[key], other[key], err_msg=key)
