"""The shared study: assigns trials to workers in several processes and pods within one budget.

Optuna numbers trials atomically in every storage. A trial is within the budget if fewer than `trials` trials with
smaller numbers count. So no lock is needed, and two workers can never both take the last slot.
"""

import hashlib
import json
import os
import socket
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from components.shared.errors import InputError
from components.shared.tuning.search_space import Choice, Float, SearchSpace, Value, Variant
from components.tune_hyperparameters.config import TuningConfig

DEFAULTS, OWNER, PROBLEM, RETRY, SURPLUS = "defaults", "owner", "problem", "retry_of", "surplus"
"""User attributes of a trial. A trial that failed without PROBLEM or SURPLUS was lost: its worker died."""

_LOCKED_S = 120.0
"""Seconds to wait for a SQLite file that another worker has locked."""

FINALS = "finals"
"""Prefix of the study's user attributes that store a finalist's metric with another seed."""

FACTS = "facts"
"""User attribute of a study: its model, data, search space and settings."""


@dataclass(frozen=True)
class Owner:
    """The process that runs a trial.

    Attributes:
        worker: name of the worker. host: name of the machine or pod. pid: process id. started: start time of the
            process, to detect reused ids.
    """

    worker: str
    host: str
    pid: int
    started: float

    @classmethod
    def here(cls, worker: str) -> "Owner":
        """Return the owner for this process."""
        return cls(worker, socket.gethostname(), os.getpid(), psutil.Process().create_time())

    def runs(self) -> bool:
        """Return whether the process is still running; only valid on its own host."""
        try:
            process = psutil.Process(self.pid)
            return process.create_time() == self.started and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def lost(trial: FrozenTrial) -> bool:
    """Return whether the trial failed because its worker died."""
    return trial.state == TrialState.FAIL and not {PROBLEM, SURPLUS} & trial.user_attrs.keys()


def counts(trial: FrozenTrial) -> bool:
    """Return whether a trial uses a slot of the budget: all except lost trials and those beyond the budget."""
    return SURPLUS not in trial.user_attrs and not lost(trial)


class SharedStudy:
    """One worker's access to a study.

    Args:
        config: Budget, storage and name of this worker.
        space: Search space.
        defaults: Values of the first trial.
        facts: JSON values of FACTS. Their digest is part of the study's name: other data, defaults or ranges give
            another study, so that a search only continues with comparable trials.

    Raises:
        InputError: the storage cannot be used.
    """

    def __init__(
        self, config: TuningConfig, space: SearchSpace, defaults: Mapping[str, Value], facts: Mapping[str, Any]
    ):
        self.config, self.space, self.defaults = config, space, dict(defaults)
        self.owner = Owner.here(config.worker)
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        self.name = f"{config.study}-{digest[:8]}"
        """Name in the storage."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.optuna = optuna.create_study(
            storage=_storage(config.storage, self.name), study_name=self.name, load_if_exists=True,
            pruner=_pruner(config.pruning), directions=["maximize", "minimize"] if config.latency else ["maximize"],
        )  # fmt: skip
        self.optuna.set_user_attr(FACTS, dict(facts))

    def trials(self) -> list[FrozenTrial]:
        """Return all trials ever created, ordered by number."""
        return self.optuna.get_trials(deepcopy=False)

    def finals(self) -> dict[int, dict[int, float | None]]:
        """Return number of a trial -> additional seed -> metric, or None if the training failed."""
        found: dict[int, dict[int, float | None]] = {}
        for name, value in self.optuna.user_attrs.items():
            head, *rest = name.split("/")
            if head == FINALS:
                number, seed = map(int, rest)
                found.setdefault(number, {})[seed] = value
        return found

    def record_final(self, number: int, seed: int, metric: float | None) -> None:
        """Record the metric of a trial's values with another seed."""
        self.optuna.set_user_attr(f"{FINALS}/{number}/{seed}", metric)

    def claim(self) -> optuna.Trial | None:
        """Take a slot of the budget and return its trial; None if the budget is used up.

        The trials of dead workers are first marked as failed, and their values are enqueued once more.
        """
        self._fail_dead_trials()
        while True:
            counted = [trial for trial in self.trials() if counts(trial)]
            waiting = any(trial.state == TrialState.WAITING for trial in counted)
            room = len(counted) < self.config.trials
            if not room and not waiting:
                return None
            if room and not any(DEFAULTS in trial.user_attrs for trial in counted):
                self.optuna.enqueue_trial(self.defaults, {DEFAULTS: True})
            self.optuna.sampler = self._sampler()
            trial = self.optuna.ask()
            trial.set_user_attr(OWNER, vars(self.owner))
            if self._within_budget(trial):
                return trial
            trial.set_user_attr(SURPLUS, True)
            self.optuna.tell(trial, state=TrialState.FAIL)

    def suggest(self, trial: optuna.Trial) -> dict[str, Value]:
        """Suggest a value for every field of the space that applies to the values before it."""
        values: dict[str, Value] = {}
        for name, found in self.space.ranges.items():
            if not self.space.applies(name, values):
                continue
            if isinstance(found, Float):
                values[name] = trial.suggest_float(name, found.low, found.high, log=found.log)
            elif isinstance(found, Choice | Variant):
                # By index, so that an option keeps its type whatever the storage returns.
                values[name] = found.options[found.options.index(trial.suggest_categorical(name, found.options))]
            else:
                values[name] = trial.suggest_int(name, found.low, found.high, log=found.log)
        return values

    def _within_budget(self, trial: optuna.Trial) -> bool:
        before = [other for other in self.trials() if other.number < trial.number and counts(other)]
        # Two workers that start with an empty study both enqueue the defaults.
        twice = DEFAULTS in trial.user_attrs and any(DEFAULTS in other.user_attrs for other in before)
        return len(before) < self.config.trials and not twice

    def _fail_dead_trials(self) -> None:
        """Mark the trials of dead workers as failed; retry their values once, the defaults without limit."""
        for trial in self.optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if not self._is_dead(trial):
                continue
            try:
                self.optuna.tell(trial.number, state=TrialState.FAIL)
            except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
                continue  # Another worker was faster and enqueues the values.
            if DEFAULTS not in trial.user_attrs and RETRY not in trial.user_attrs and trial.params:
                self.optuna.enqueue_trial(dict(trial.params), {RETRY: trial.number})

    def _is_dead(self, trial: FrozenTrial) -> bool:
        if OWNER not in trial.user_attrs:
            return self.config.others_ended
        owner = Owner(**trial.user_attrs[OWNER])
        if owner.host == self.owner.host:
            return not owner.runs()
        # A step's pod is only replaced after it has ended, by a pod with the same worker name.
        return self.config.others_ended or (owner.worker == self.owner.worker != "")

    def _sampler(self) -> optuna.samplers.BaseSampler:
        """Return TPE (Bergstra et al., NeurIPS 2011), seeded by trial number and worker, so that all draws differ."""
        key = f"{self.config.seed} {self.config.worker} {len(self.trials())}"
        startup = min(10, max(4, self.config.trials // 4))
        return optuna.samplers.TPESampler(n_startup_trials=startup, seed=zlib.crc32(key.encode()))


def _storage(address: str, study: str) -> BaseStorage:
    try:
        if "://" in address:
            return _database(address)
        if not address:
            return optuna.storages.InMemoryStorage()
        Path(address).mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(Path(address) / f"{study}.journal")))
    except (OSError, SQLAlchemyError, ImportError) as error:
        raise InputError(
            f"storage {_shown(address)}: {str(error).splitlines()[0]}",
            "give a writable folder, or a database URL whose driver is installed (sqlite:///FILE)",
        ) from error


def _shown(address: str) -> str:
    """Return the address without its password."""
    if "://" not in address:
        return address
    try:
        return make_url(address).render_as_string(hide_password=True)
    except ArgumentError:
        return "(no URL)"


def _database(url: str, tries: int = 5) -> RDBStorage:
    """Open a database; retries, because only one of several concurrent workers succeeds in creating its tables."""
    # SQLite locks the whole file while another worker writes, for long on a busy machine; servers lock rows.
    waiting = {"connect_args": {"timeout": _LOCKED_S}} if url.startswith("sqlite") else None
    for at in range(1, tries):
        try:
            return RDBStorage(url, engine_kwargs=waiting)
        except DBAPIError:
            time.sleep(0.2 * at)
    return RDBStorage(url, engine_kwargs=waiting)


def _pruner(name: str) -> optuna.pruners.BasePruner:
    """Return the rule that ends trials early; never after the first epoch, which favours the highest learning rate.

    `asha`: Li et al., A System for Massively Parallel Hyperparameter Tuning (MLSys 2020).
    """
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2)
    if name == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=2, reduction_factor=2)
    return optuna.pruners.NopPruner()
