"""Search for a model's best hyperparameters: run the trials of a study within its budget and report the best."""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from components.shared.errors import InputError, TrainingError
from components.shared.progress import report
from components.shared.storage import atomic_directory
from components.shared.tuning.hyperparameters import Hyperparameters
from components.shared.tuning.search_space import Value
from components.shared.tuning.trial import Tunable
from components.tune_hyperparameters.config import TuningConfig
from components.tune_hyperparameters.finals import run_finals
from components.tune_hyperparameters.report import tuning_page
from components.tune_hyperparameters.result import Result
from components.tune_hyperparameters.study import DEFAULTS, PROBLEM, SharedStudy, counts

STAGE = "tune_hyperparameters"


def tune(tunable: Tunable, out: Path, html: Path, config: TuningConfig) -> Hyperparameters:
    """Run trials until this and other workers have used up the study's budget, then write the results.

    Args:
        tunable: The model with its data.
        out: Folder that receives hyperparameters.json and trials.parquet.
        html: HTML page to write.
        config: Options of the search.

    Returns:
        The best configuration so far; the defaults if nothing is better.

    Raises:
        InputError: the storage cannot be used.
        TrainingError: the defaults cannot be trained.
    """
    study = SharedStudy(config, tunable.space, tunable.defaults, _facts(tunable, config))
    while trial := study.claim():
        _run(study, trial, tunable)
    if config.others_ended:
        run_finals(study, tunable)
    result = Result.read(study, tunable)
    best = result.best()
    with atomic_directory(out) as folder:
        best.write(folder)
        result.write_trials(folder / "trials.parquet")
    tuning_page(result, best).write(html)
    return best


def _run(study: SharedStudy, trial: optuna.Trial, tunable: Tunable) -> None:
    """Train one trial and report its result to the study."""
    defaults, latency = DEFAULTS in trial.user_attrs, study.config.latency
    values = study.suggest(trial)
    finished = [found for found in study.trials() if counts(found) and found.state.is_finished()]
    best = max((found.values[0] for found in finished if found.state == TrialState.COMPLETE), default=0.0)
    report(STAGE, len(finished) / study.config.trials, f"trial {trial.number}, {tunable.metric} so far {best:.4f}")

    def on_epoch(epoch: int, metric: float) -> None:
        trial.set_user_attr("epochs", epoch)
        comparable = _comparable_epoch(epoch, values, tunable.defaults)
        if not latency and comparable:  # Optuna cannot prune with two objectives.
            trial.report(metric, comparable)
            # The defaults are the baseline of all trials and are never pruned.
            if not defaults and trial.should_prune():
                raise optuna.TrialPruned

    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="shoprank-trial-") as folder:
        try:
            quality = tunable.train(values, Path(folder) / "model", on_epoch)
            found = [quality, tunable.scoring_ms(Path(folder) / "model")] if latency else [quality]
        except optuna.TrialPruned:
            study.optuna.tell(trial, state=TrialState.PRUNED)
            return
        except (TrainingError, InputError) as error:
            # Values may be incompatible, such as a batch size that the processes do not divide.
            if defaults:
                # Without PROBLEM the trial counts as lost, so that a later call starts with the defaults again.
                study.optuna.tell(trial, state=TrialState.FAIL)
                raise
            trial.set_user_attr(PROBLEM, error.headline)
            study.optuna.tell(trial, state=TrialState.FAIL)
            return
    trial.set_user_attr("seconds", round(time.monotonic() - started, 2))
    study.optuna.tell(trial, found)


def _comparable_epoch(epoch: int, values: Mapping[str, Value], defaults: Mapping[str, Value]) -> int:
    """Return the epoch at which the defaults have completed the same share of training; 0 if it lies between epochs.

    At the same epoch a longer training has a lower metric, because its learning rate has not decayed as far.
    """
    epochs, usual = values.get("epochs"), defaults.get("epochs")
    if not isinstance(epochs, int) or not isinstance(usual, int):
        return epoch
    return 0 if epoch * usual % epochs else epoch * usual // epochs


def _facts(tunable: Tunable, config: TuningConfig) -> dict[str, Any]:
    """Return the facts that must be equal for trials to be comparable."""
    ranges = {name: repr(found) for name, found in tunable.space.ranges.items()}
    return {
        "model": tunable.model, "features": tunable.digest, "space": ranges, "defaults": dict(tunable.defaults),
        "settings": tunable.settings, "objective": config.objective,
    }  # fmt: skip
