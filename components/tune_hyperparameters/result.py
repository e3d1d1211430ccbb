"""What a study has found: every trial as a row, the best one, and how it was chosen."""

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
"""Latencies this close are one: they are medians of measurements on a machine that does other things too."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A trial that was started."""

    number: int
    """Place in the study, from 0; numbers of trials that found the budget used up are missing."""
    state: str
    """complete, pruned, failed, lost (its worker died; it takes no slot), running or waiting."""
    quality: float | None = None
    """Best validation metric over its epochs; of a pruned trial that of the epochs it had."""
    latency_ms: float | None = None
    """Milliseconds to score one shopper, where that is an objective."""
    seconds: float | None = None
    """Time of a complete trial."""
    epochs_done: int = 0
    """Epochs that were reported."""
    values: dict[str, Value] = field(default_factory=dict)
    """Hyper-parameters."""
    defaults: bool = False
    """Whether they are the defaults."""
    retry_of: int | None = None
    """The lost trial whose values it has."""
    worker: str = ""
    """Name and machine of the worker."""
    problem: str = ""
    """Why it failed."""
    again: Mapping[int, float | None] = field(default_factory=dict)
    """Quality with other seeds, of a finalist; None where it could not be trained."""

    @property
    def mean(self) -> float | None:
        """Quality over all seeds; None if it has none, or failed with one of them."""
        values = [self.quality, *self.again.values()]
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if len(known) == len(values) else None

    @classmethod
    def of(cls, trial: FrozenTrial) -> "Row":
        """From Optuna's record."""
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
        rows: by number. tunable: what was tuned. config: how. name: of the study. counted: trials that take a slot of
            the budget.
    """

    rows: tuple[Row, ...]
    tunable: Tunable
    config: TuningConfig
    name: str
    counted: int

    @classmethod
    def read(cls, study: SharedStudy, tunable: Tunable) -> "Result":
        """As far as the study has come; trials that found the budget used up were never trained and are left out."""
        trials = study.trials()
        finals = study.finals()
        rows = tuple(dataclasses.replace(Row.of(trial), again=finals.get(trial.number, {}))
                     for trial in trials if SURPLUS not in trial.user_attrs)  # fmt: skip
        return cls(rows, tunable, study.config, study.name, sum(map(counts, trials)))

    @property
    def space(self) -> SearchSpace:
        """What was tuned."""
        return self.tunable.space

    @property
    def complete(self) -> list[Row]:
        """Trials that reached their end, best quality first; ties go to the earlier."""
        return sorted((row for row in self.rows if row.state == "complete"), key=lambda row: (-_known(row), row.number))

    @property
    def defaults(self) -> Row | None:
        """The trial of the defaults, once it is complete."""
        return next((row for row in self.complete if row.defaults), None)

    def front(self) -> list[Row]:
        """Complete trials that none other beats in both quality and latency, fastest first."""
        front: list[Row] = []
        for row in sorted(self.complete, key=lambda row: (row.latency_ms or 0.0, -_known(row), row.number)):
            if not front or _known(row) > _known(front[-1]):
                front.append(row)
        return front

    def chosen(self) -> Row | None:
        """The finalist of the best mean; without finals the complete trial of the best quality, see `eligible`."""
        played = [row for row in self.finalists() if self.finals_played(row) and row.mean is not None]
        if played:
            return max(played, key=lambda row: (row.mean or 0.0, -row.number))
        rows = self.eligible()
        return rows[0] if rows else None

    def finals_played(self, row: Row) -> bool:
        """Whether it was tried with every further seed."""
        return bool(self.config.final_seeds) and set(self.config.final_seeds) <= row.again.keys()

    def finalists(self) -> list[Row]:
        """The best of those that may win, and the defaults; none where no finals are asked for."""
        if not self.config.finalists:
            return []
        rows, defaults = self.eligible()[: self.config.finalists], self.defaults
        return [*rows, *([defaults] if defaults is not None and defaults not in rows else [])]

    def eligible(self) -> list[Row]:
        """Complete trials, best first; with latency as an objective, those no slower than the defaults.

        Pruned trials are out: they ended before their best epoch was known.
        """
        rows, defaults = self.complete, self.defaults
        if self.config.latency and defaults is not None and defaults.latency_ms is not None:
            limit = defaults.latency_ms * _SLOWER
            rows = [row for row in rows if row.latency_ms is not None and row.latency_ms <= limit]
        return rows

    def best(self) -> Hyperparameters:
        """The best configuration; the defaults, without a value, where nothing is complete yet."""
        row, defaults = self.chosen(), self.defaults
        return Hyperparameters(
            model=self.tunable.model, values=row.values if row else dict(self.tunable.defaults),
            metric=self.tunable.metric, value=row.mean if row else None,
            default_value=defaults.mean if defaults else None, trial=row.number if row else None,
            study=self.name, trials=self.counted, seed=self.config.seed, features=self.tunable.digest,
        )  # fmt: skip

    def write_trials(self, path: Path) -> None:
        """Write every row as Parquet, a column a hyper-parameter; `mean` is over the seeds that it was trained with."""
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
