"""The finals: the best trials and the defaults are trained again with other seeds, to reduce the influence of chance.

The best of twenty trials with one seed is partly lucky: with another seed it is rarely as good.
"""

import tempfile
from pathlib import Path

from components.shared.errors import InputError, TrainingError
from components.shared.progress import report
from components.shared.tuning.trial import Tunable
from components.tune_hyperparameters.result import Result, Row
from components.tune_hyperparameters.study import SharedStudy


def run_finals(study: SharedStudy, tunable: Tunable) -> None:
    """Train every finalist with every additional seed; results of earlier calls are kept.

    Args:
        study: Study whose trials have ended; records the results.
        tunable: The tuned model.
    """
    for row in Result.read(study, tunable).finalists():
        for seed in study.config.final_seeds:
            if seed not in row.again:
                study.record_final(row.number, seed, _again(row, seed, tunable))


def _again(row: Row, seed: int, tunable: Tunable) -> float | None:
    """Return the metric with that seed; None if the training fails."""
    report("tune_hyperparameters", 1.0, f"finals: trial {row.number} with seed {seed}")
    with tempfile.TemporaryDirectory(prefix="shoprank-trial-") as folder:
        try:
            return tunable.reseeded(seed).train(row.values, Path(folder) / "model", lambda *_: None)
        except (TrainingError, InputError) as error:
            report("tune_hyperparameters", 1.0, f"finals: trial {row.number} is out: {error.headline}")
            return None
