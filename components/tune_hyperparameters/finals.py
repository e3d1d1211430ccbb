"""The finals: the best trials and the defaults are trained again with other seeds, because one seed's best is luck too.

Of twenty trials of one seed the best is the one that was lucky beside being good: asked again, it is rarely as good.
"""

import tempfile
from pathlib import Path

from components.shared.errors import InputError, TrainingError
from components.shared.progress import report
from components.shared.tuning.trial import Tunable
from components.tune_hyperparameters.result import Result, Row
from components.tune_hyperparameters.study import SharedStudy


def play_finals(study: SharedStudy, tunable: Tunable) -> None:
    """Train every finalist with every further seed; what an earlier call finished is kept.

    Args:
        study: Whose trials have ended; it keeps what is found.
        tunable: What was tuned.
    """
    for row in Result.read(study, tunable).finalists():
        for seed in study.config.final_seeds:
            if seed not in row.again:
                study.note_final(row.number, seed, _again(row, seed, tunable))


def _again(row: Row, seed: int, tunable: Tunable) -> float | None:
    """The metric with that seed; None where it cannot be trained so."""
    report("tune_hyperparameters", 1.0, f"finals: trial {row.number} with seed {seed}")
    with tempfile.TemporaryDirectory(prefix="shoprank-trial-") as folder:
        try:
            return tunable.reseeded(seed).train(row.values, Path(folder) / "model", lambda *_: None)
        except (TrainingError, InputError) as error:
            report("tune_hyperparameters", 1.0, f"finals: trial {row.number} is out: {error.headline}")
            return None
