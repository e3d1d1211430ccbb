"""The shared study: who may start which trial, so that workers in many processes and pods keep to one budget.

Optuna gives every trial a number, atomically, in every storage. A trial belongs to the budget when fewer than `trials`
others with smaller numbers count; so no lock is needed, and two workers can never both take the last slot.
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
"""User attributes of a trial. One that failed without PROBLEM or SURPLUS was lost: its worker died."""

_LOCKED_S = 120.0
"""Seconds that a worker waits for a SQLite file that another one holds."""

FINALS = "finals"
"""What the user attributes of a study begin with that hold a finalist's metric with another seed."""

FACTS = "facts"
"""User attribute of a study: what it searches, on which data."""


@dataclass(frozen=True)
class Owner:
    """The process that runs a trial.

    Attributes:
        worker: name. host: of the machine or pod. pid: process. started: when the process began, against reused pids.
    """

    worker: str
    host: str
    pid: int
    started: float

    @classmethod
    def here(cls, worker: str) -> "Owner":
        """This process."""
        return cls(worker, socket.gethostname(), os.getpid(), psutil.Process().create_time())

    def runs(self) -> bool:
        """Whether this process of this machine still lives."""
        try:
            process = psutil.Process(self.pid)
            return process.create_time() == self.started and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def lost(trial: FrozenTrial) -> bool:
    """Whether the trial's worker died over it."""
    return trial.state == TrialState.FAIL and not {PROBLEM, SURPLUS} & trial.user_attrs.keys()


def counts(trial: FrozenTrial) -> bool:
    """Whether a trial takes a slot of the budget: all but lost ones and those that found it used up."""
    return SURPLUS not in trial.user_attrs and not lost(trial)


class SharedStudy:
    """A study as one worker sees it.

    Args:
        config: Budget, storage, who this worker is.
        space: What is tuned.
        defaults: Values of the first trial.
        facts: JSON of what the study searches, and on which data. Part of its name: with other data, defaults or
            ranges it is another study, so that a search goes on exactly where its trials can be compared.

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
        """Every trial that was ever started, by its number."""
        return self.optuna.get_trials(deepcopy=False)

    def finals(self) -> dict[int, dict[int, float | None]]:
        """Number of a trial -> further seed -> its metric with it, or None where it could not be trained."""
        found: dict[int, dict[int, float | None]] = {}
        for name, value in self.optuna.user_attrs.items():
            head, *rest = name.split("/")
            if head == FINALS:
                number, seed = map(int, rest)
                found.setdefault(number, {})[seed] = value
        return found

    def note_final(self, number: int, seed: int, metric: float | None) -> None:
        """Keep what a trial's values reached with another seed."""
        self.optuna.set_user_attr(f"{FINALS}/{number}/{seed}", metric)

    def claim(self) -> optuna.Trial | None:
        """Take a slot of the budget; None when all are taken.

        A dead worker's trials are failed first and their values enqueued once more.
        """
        self._bury()
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
        """A value for every field of the space that goes with the others."""
        values: dict[str, Value] = {}
        for name, found in self.space.ranges.items():
            if not self.space.applies(name, values):
                continue
            if isinstance(found, Float):
                values[name] = trial.suggest_float(name, found.low, found.high, log=found.log)
            elif isinstance(found, Choice | Variant):
                # By index: an option keeps its own type, whatever the storage makes of it.
                values[name] = found.options[found.options.index(trial.suggest_categorical(name, found.options))]
            else:
                values[name] = trial.suggest_int(name, found.low, found.high, log=found.log)
        return values

    def _within_budget(self, trial: optuna.Trial) -> bool:
        before = [other for other in self.trials() if other.number < trial.number and counts(other)]
        # Two workers that both found an empty study have both enqueued the defaults.
        twice = DEFAULTS in trial.user_attrs and any(DEFAULTS in other.user_attrs for other in before)
        return len(before) < self.config.trials and not twice

    def _bury(self) -> None:
        """Fail the trials of dead workers; the values of each get one more try, the defaults as many as they need."""
        for trial in self.optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if not self._is_dead(trial):
                continue
            try:
                self.optuna.tell(trial.number, state=TrialState.FAIL)
            except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
                continue  # Another worker was faster, and enqueues it.
            if DEFAULTS not in trial.user_attrs and RETRY not in trial.user_attrs and trial.params:
                self.optuna.enqueue_trial(dict(trial.params), {RETRY: trial.number})

    def _is_dead(self, trial: FrozenTrial) -> bool:
        if OWNER not in trial.user_attrs:
            return self.config.closing
        owner = Owner(**trial.user_attrs[OWNER])
        if owner.host == self.owner.host:
            return not owner.runs()
        # A step's pod is replaced only after it is gone, by one that has its worker's name.
        return self.config.closing or (owner.worker == self.owner.worker != "")

    def _sampler(self) -> optuna.samplers.BaseSampler:
        """TPE (Bergstra et al., NeurIPS 2011), seeded by number and worker, so that no two draw the same."""
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
    """The address without a password."""
    if "://" not in address:
        return address
    try:
        return make_url(address).render_as_string(hide_password=True)
    except ArgumentError:
        return "(no URL)"


def _database(url: str, tries: int = 5) -> RDBStorage:
    """Open a database; where workers come at once all make its tables, and those that lose find them a moment later."""
    # A file is locked while another worker writes, for as long as a busy machine makes it; servers have locks of rows.
    waiting = {"connect_args": {"timeout": _LOCKED_S}} if url.startswith("sqlite") else None
    for at in range(1, tries):
        try:
            return RDBStorage(url, engine_kwargs=waiting)
        except DBAPIError:
            time.sleep(0.2 * at)
    return RDBStorage(url, engine_kwargs=waiting)


def _pruner(name: str) -> optuna.pruners.BasePruner:
    """The rule that ends a trial early; one epoch alone ends none, because it speaks for the highest learning rate.

    `asha`: Li et al., A System for Massively Parallel Hyperparameter Tuning (MLSys 2020).
    """
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2)
    if name == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=2, reduction_factor=2)
    return optuna.pruners.NopPruner()
