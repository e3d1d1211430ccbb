"""One budget for many workers: real processes on one storage, killed workers, and studies that continue."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import optuna
import pyarrow.parquet as pq
import pytest

from components.shared.errors import InputError
from components.shared.tuning.hyperparameters import read_hyperparameters
from components.tune_hyperparameters.config import TuningConfig
from components.tune_hyperparameters.study import OWNER, Owner, SharedStudy
from components.tune_hyperparameters.tests.bowl import Bowl
from components.tune_hyperparameters.tune import tune

TRIALS = 12
FAIL = optuna.trial.TrialState.FAIL


def storage_of(kind: str, folder: Path) -> str:
    return str(folder / "studies") if kind == "journal" else f"sqlite:///{folder}/study.db"


def worker(folder: Path, storage: str, name: str, seconds: float, *options: str) -> subprocess.Popen:
    arguments = ["--folder", str(folder), "--storage", storage, "--worker", name, "--trials", str(TRIALS), "--seconds",
                 str(seconds), *options]  # fmt: skip
    return subprocess.Popen([sys.executable, "-m", "components.tune_hyperparameters.tests.bowl", *arguments])


def run_worker(folder: Path, storage: str, name: str) -> None:
    """Run one more worker in this process."""
    config = TuningConfig(trials=TRIALS, storage=storage, worker=name, study="bowl")
    tune(Bowl(folder / f"{name}.log"), folder / name, folder / f"{name}.html", config)


def rows(folder: Path, name: str) -> list[dict]:
    return pq.read_table(folder / name / "trials.parquet").to_pylist()


def trained(folder: Path) -> list[str]:
    return [line for log in folder.glob("*.log") for line in log.read_text().splitlines()]


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_three_processes_on_one_storage_keep_to_the_budget(kind, tmp_path):
    storage = storage_of(kind, tmp_path)
    running = [worker(tmp_path, storage, name, 0.05, "--wait") for name in "abc"]
    while len(list(tmp_path.glob("*.ready"))) < len(running):
        time.sleep(0.01)
    (tmp_path / "go").touch()  # The study does not exist yet, and all workers start at the same time.
    assert [process.wait(100) for process in running] == [0, 0, 0]
    assert len(trained(tmp_path)) == TRIALS, "each was trained once, and not one more"
    assert trained(tmp_path).count("0.9 32 flat") == 1, "the defaults once"
    # Another worker finds nothing to do. It sees only finished trials; the three may have seen one another's running
    # trials, and one beyond the budget before it was given back.
    run_worker(tmp_path, storage, "d")
    assert len(trained(tmp_path)) == TRIALS
    found = rows(tmp_path, "d")
    assert [row["state"] in ("complete", "pruned") for row in found] == [True] * TRIALS
    assert len({row["worker"] for row in found}) > 1


def test_only_one_of_two_concurrent_workers_takes_the_last_trial(tmp_path):
    """A race between reads of the storage: each worker claims when the other has seen room but not yet claimed it."""
    config = TuningConfig(trials=3, storage=str(tmp_path), study="bowl")
    one, other = (SharedStudy(config, Bowl.space, Bowl.defaults, {}) for _ in range(2))
    claimed = [one.claim(), other.claim()]
    # Both see one trial left; the one that was asked for first takes it.
    first, second = one.optuna.ask(), other.optuna.ask()
    assert one._within_budget(first) and not other._within_budget(second)
    assert [trial.number for trial in claimed if trial] == [0, 1] and (first.number, second.number) == (2, 3)


def start_and_kill_worker(folder: Path, storage: str) -> int:
    """Start a worker, kill -9 it during a trial, and return the number of trainings it had started."""
    process = worker(folder, storage, "victim", 1.0)
    deadline = time.monotonic() + 30
    while len(trained(folder)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL
    return len(trained(folder))


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_trial_of_a_killed_worker_is_retried_and_the_study_continues(kind, tmp_path):
    storage = storage_of(kind, tmp_path)
    started = start_and_kill_worker(tmp_path, storage)
    assert started == 2
    lost = trained(tmp_path)[-1]
    run_worker(tmp_path, storage, "heir")
    found = rows(tmp_path, "heir")
    assert [row["number"] for row in found if row["state"] == "lost"] == [1]
    retry = next(row for row in found if row["retry_of"] == 1)
    assert f"{retry['x']} {retry['n']} {retry['shape']}" == lost, "with the values that were lost"
    assert len([row for row in found if row["state"] in ("complete", "pruned")]) == TRIALS, "a lost one takes no slot"
    assert len(trained(tmp_path)) == TRIALS + 1
    assert read_hyperparameters(str(tmp_path / "heir"), "bowl").trials == TRIALS


def test_remote_trial_is_failed_only_by_a_worker_of_the_same_name(tmp_path):
    def study(name: str, others_ended: bool = False) -> SharedStudy:
        config = TuningConfig(trials=2, storage=str(tmp_path), worker=name, others_ended=others_ended)
        return SharedStudy(config, Bowl.space, Bowl.defaults, {})

    remote = study("w0")
    remote.owner = Owner("w0", "another-pod", 1, 0.0)
    claimed = remote.claim()
    assert claimed is not None and remote.optuna.trials[0].user_attrs[OWNER]["host"] == "another-pod"
    state = optuna.trial.TrialState
    study("w1")._fail_dead_trials()
    assert remote.optuna.trials[0].state == state.RUNNING, "it may be at work"
    study("w0")._fail_dead_trials()
    assert remote.optuna.trials[0].state == state.FAIL, "the pod that has its name replaced it"
    retry = study("w1").claim()
    assert retry is not None and retry.number == 1
    assert retry.user_attrs["defaults"], "the defaults are begun again first"
    study("last", others_ended=True)._fail_dead_trials()
    assert remote.optuna.trials[1].state == state.RUNNING, "this very process still has it"


def test_values_that_killed_two_workers_are_not_tried_again(tmp_path):
    dead = Owner("w0", "gone", 1, 0.0)
    config = TuningConfig(trials=3, storage=str(tmp_path), worker="w0")
    study = SharedStudy(config, Bowl.space, Bowl.defaults, {})
    first = study.claim()
    assert first is not None
    study.optuna.tell(first, 0.5)
    study.owner = dead
    values = []
    for _ in range(3):
        trial = study.claim()
        assert trial is not None
        values.append(study.suggest(trial))
        study.owner = Owner("w0", "next", 1, 0.0)
        study._fail_dead_trials()
        study.owner = dead
    assert values[0] == values[1] != values[2]


def test_lowered_or_raised_budget_is_respected(tmp_path):
    def claimed(trials: int) -> list[int]:
        study = SharedStudy(TuningConfig(trials=trials, storage=str(tmp_path)), Bowl.space, Bowl.defaults, {})
        numbers = []
        while trial := study.claim():
            numbers.append(trial.number)
            study.optuna.tell(trial, 0.5) if trial.number else study.optuna.tell(trial, state=FAIL)
        return numbers

    # The first trial, with the defaults, fails and is retried.
    assert claimed(2) == [0, 1, 2]
    assert claimed(1) == [] and claimed(2) == []
    assert claimed(4) == [3, 4]


def test_worker_waits_for_a_locked_database(tmp_path):
    storage = storage_of("sqlite", tmp_path)
    study = SharedStudy(TuningConfig(storage=storage), Bowl.space, Bowl.defaults, {})
    with contextlib.closing(sqlite3.connect(tmp_path / "study.db", check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        # SQLite itself would give up after five seconds.
        timer = threading.Timer(6.0, other.rollback)
        timer.start()
        trial = study.claim()
        timer.join()
    assert trial is not None and trial.number == 0


def test_other_data_starts_another_study(tmp_path):
    bowl, config = Bowl(tmp_path / "log"), TuningConfig(trials=2, storage=str(tmp_path / "studies"))
    first = tune(bowl, tmp_path / "a", tmp_path / "a.html", config)
    again = tune(bowl, tmp_path / "b", tmp_path / "b.html", config)
    assert first == again and len(bowl.trained()) == 2, "nothing was left to do"
    other = tune(Bowl(tmp_path / "log", digest="other data"), tmp_path / "c", tmp_path / "c.html", config)
    assert other.study != first.study and len(bowl.trained()) == 4


@pytest.mark.parametrize("storage", ["nosuch://place", "sqlite:////nowhere/at/all.db", "://"])
def test_error_for_an_unusable_storage_names_it(storage):
    with pytest.raises(InputError, match=storage if storage != "://" else "no URL"):
        SharedStudy(TuningConfig(storage=storage), Bowl.space, Bowl.defaults, {})


def test_password_of_a_storage_is_masked_in_the_error():
    with pytest.raises(InputError) as caught:
        SharedStudy(TuningConfig(storage="nosuch://me:hunter2@host/db"), Bowl.space, Bowl.defaults, {})
    assert "nosuch://me:***@host/db" in caught.value.headline and "hunter2" not in str(caught.value)


def test_error_for_a_file_as_storage_names_it(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        SharedStudy(TuningConfig(storage=str(tmp_path / "file")), Bowl.space, Bowl.defaults, {})
