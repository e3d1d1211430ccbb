"""Results of a study: every trial as a row, and the selection of the best one."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from optuna.trial import FrozenTrial, TrialState

from components.shared.tuning.hyperparameters import Hyperparameters
from components.shared.tuning.search_space import SearchSpace, Value
from components.shared.tuning.trial import Tunable
from components.tune_hyperparameters.config import TuningConfig
from components.tune_hyperparameters.study import DEFAULTS, OWNER, PROBLEM, RETRY, SURPLUS, SharedStudy, counts, lost

_SLOWER = 1.05
"""Latencies within this factor count as equal: they are medians measured on a machine with other load."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A trial of a study."""

    number: int
    """Number in the study, from 0; trials beyond the budget are left out."""
    state: str
    """complete, pruned, failed, lost (its worker died; uses no slot), running or waiting."""
    quality: float | None = None
    """Best validation metric over its epochs; for a pruned trial, over the epochs before pruning."""
    latency_ms: float | None = None
    """Milliseconds to score one shopper, if latency is an objective."""
    seconds: float | None = None
    """Duration of a complete trial."""
    epochs_done: int = 0
    """Number of reported epochs."""
    values: dict[str, Value] = field(default_factory=dict)
    """Hyperparameters."""
    defaults: bool = False
    """Whether the values are the defaults."""
    retry_of: int | None = None
    """Number of the lost trial whose values are retried."""
    worker: str = ""
    """Name and machine of the worker."""
    problem: str = ""
    """Reason of a failure."""
    again: Mapping[int, float | None] = field(default_factory=dict)
    """Quality of a finalist per additional seed; None if the training failed."""

    @property
    def mean(self) -> float | None:
        """Mean quality over all seeds; None without a quality, or if the training failed with one of the seeds."""
        values = [self.quality, *self.again.values()]
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if len(known) == len(values) else None

    @classmethod
    def of(cls, trial: FrozenTrial) -> "Row":
        """Create a row from Optuna's record."""
        attributes, epochs = trial.user_attrs, trial.intermediate_values
        complete = trial.state == TrialState.COMPLETE
        failed = "lost" if lost(trial) else "failed"
        best = trial.values[0] if complete else max(epochs.values(), default=None)
        owner = attributes.get(OWNER, {})
        return cls(
            number=trial.number, state=failed if trial.state == TrialState.FAIL else trial.state.name.lower(),
            quality=best, latency_ms=trial.values[1] if complete and len(trial.values) > 1 else None,
            seconds=attributes.get("seconds"), epochs_done=attributes.get("epochs", len(epochs)),
            values=dict(trial.params),
            defaults=DEFAULTS in attributes, retry_of=attributes.get(RETRY), problem=attributes.get(PROBLEM, ""),
            worker=" ".join(filter(None, (owner.get("worker"), owner.get("host")))),
        )  # fmt: skip


@dataclass(frozen=True)
class Result:
    """The rows of a study.

    Attributes:
        rows: by number. tunable: the tuned model. config: options of the search. name: name of the study. counted:
            number of trials that use a slot of the budget.
    """

    rows: tuple[Row, ...]
    tunable: Tunable
    config: TuningConfig
    name: str
    counted: int

    @classmethod
    def read(cls, study: SharedStudy, tunable: Tunable) -> "Result":
        """Read the current state of a study; leaves out trials beyond the budget, which were never trained."""
        trials = study.trials()
        finals = study.finals()
        rows = tuple(dataclasses.replace(Row.of(trial), again=finals.get(trial.number, {}))
                     for trial in trials if SURPLUS not in trial.user_attrs)  # fmt: skip
        return cls(rows, tunable, study.config, study.name, sum(map(counts, trials)))

    @property
    def space(self) -> SearchSpace:
        """Search space of the study."""
        return self.tunable.space

    @property
    def complete(self) -> list[Row]:
        """Complete trials, best quality first; of equal ones the earlier trial first."""
        return sorted((row for row in self.rows if row.state == "complete"), key=lambda row: (-_known(row), row.number))

    @property
    def defaults(self) -> Row | None:
        """The complete trial of the defaults, if any."""
        return next((row for row in self.complete if row.defaults), None)

    def front(self) -> list[Row]:
        """Return the Pareto front: complete trials not surpassed in both quality and latency, fastest first."""
        front: list[Row] = []
        for row in sorted(self.complete, key=lambda row: (row.latency_ms or 0.0, -_known(row), row.number)):
            if not front or _known(row) > _known(front[-1]):
                front.append(row)
        return front

    def chosen(self) -> Row | None:
        """Return the finalist with the best mean; without finals the best eligible trial, see `eligible`."""
        played = [row for row in self.finalists() if self.finals_complete(row) and row.mean is not None]
        if played:
            return max(played, key=lambda row: (row.mean or 0.0, -row.number))
        rows = self.eligible()
        return rows[0] if rows else None

    def finals_complete(self, row: Row) -> bool:
        """Return whether the row has a result for every additional seed."""
        return bool(self.config.final_seeds) and set(self.config.final_seeds) <= row.again.keys()

    def finalists(self) -> list[Row]:
        """Return the best eligible trials and the defaults; empty if no finals are configured."""
        if not self.config.finalists:
            return []
        rows, defaults = self.eligible()[: self.config.finalists], self.defaults
        return [*rows, *([defaults] if defaults is not None and defaults not in rows else [])]

    def eligible(self) -> list[Row]:
        """Return complete trials, best first; with latency as an objective, only those not slower than the defaults.

        Pruned trials are excluded: they ended before their best epoch was known.
        """
        rows, defaults = self.complete, self.defaults
        if self.config.latency and defaults is not None and defaults.latency_ms is not None:
            limit = defaults.latency_ms * _SLOWER
            rows = [row for row in rows if row.latency_ms is not None and row.latency_ms <= limit]
        return rows

    def best(self) -> Hyperparameters:
        """Return the best configuration; the defaults, without a value, if no trial is complete yet."""
        row, defaults = self.chosen(), self.defaults
        return Hyperparameters(
            model=self.tunable.model, values=row.values if row else dict(self.tunable.defaults),
            metric=self.tunable.metric, value=row.mean if row else None,
            default_value=defaults.mean if defaults else None, trial=row.number if row else None,
            study=self.name, trials=self.counted, seed=self.config.seed, features=self.tunable.digest,
        )  # fmt: skip

    def write_trials(self, path: Path) -> None:
        """Write every row as Parquet, one column per hyperparameter; `mean` is over all seeds of a trial."""
        names = ("number", "state", "quality", "mean", "latency_ms", "seconds", "epochs_done", "defaults", "retry_of",
                 "worker", "problem")  # fmt: skip
        columns = {name: pa.array([getattr(row, name) for row in self.rows], _TYPES[name]) for name in names}
        columns |= {name: pa.array([row.values.get(name) for row in self.rows]) for name in self.space.ranges}
        pq.write_table(pa.table(columns), path)


def _known(row: Row) -> float:
    assert row.quality is not None, "a complete trial has a quality"
    return row.quality


_TYPES = {
    "number": pa.int64(), "state": pa.string(), "quality": pa.float64(), "mean": pa.float64(),
    "latency_ms": pa.float64(), "seconds": pa.float64(), "epochs_done": pa.int64(), "defaults": pa.bool_(),
    "retry_of": pa.int64(), "worker": pa.string(), "problem": pa.string(),
}  # fmt: skip
