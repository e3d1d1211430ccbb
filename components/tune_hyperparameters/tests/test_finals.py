"""The finals: the best trials are repeated with other seeds, so that luck with one seed does not decide."""

from dataclasses import dataclass
from typing import ClassVar

import pyarrow.parquet as pq
import pytest

from components.shared.errors import TrainingError
from components.shared.tuning.search_space import Float, SearchSpace, Value
from components.tune_hyperparameters.config import TuningConfig
from components.tune_hyperparameters.tests.bowl import Bowl
from components.tune_hyperparameters.tune import tune


@dataclass(frozen=True)
class Lucky(Bowl):
    """Best at 0.3, but with the study's seed everything above 0.7 looks better; above `lost`, other seeds fail."""

    lost: float = 1.0
    space = SearchSpace({"x": Float(low=0.0, high=1.0)})
    defaults: ClassVar[dict[str, Value]] = {"x": 0.5}

    def train(self, values, out, on_epoch):
        with self.log.open("a") as stream:
            stream.write(f"{self.seed} {values['x']}\n")
        if self.seed and values["x"] > self.lost:
            raise TrainingError("the loss is nan", "lower x")
        luck = 0.55 if self.seed == 0 and values["x"] > 0.7 else 0.0
        on_epoch(1, 1.0 - abs(values["x"] - 0.3) + luck)
        out.mkdir(parents=True)
        return 1.0 - abs(values["x"] - 0.3) + luck


def search(folder, bowl=None, **changes):
    config = TuningConfig(**{"trials": 20, "others_ended": True, "storage": str(folder / "studies"), **changes})
    return tune(bowl or Lucky(folder / "log"), folder / "best", folder / "tuning.html", config)


def seeds(folder) -> list[int]:
    """The seed of every training that was started."""
    return [int(line.split()[0]) for line in (folder / "log").read_text().splitlines()]


def test_without_finals_the_seed_of_the_study_decides(tmp_path):
    best = search(tmp_path)
    assert best.values["x"] > 0.7 and best.value > 1.0 and set(seeds(tmp_path)) == {0}
    assert "Finals" not in (tmp_path / "tuning.html").read_text()


def test_finalist_with_the_best_mean_wins_even_if_it_is_the_defaults(tmp_path):
    best = search(tmp_path, finalists=3)
    assert best.values == {"x": 0.5} and best.trial == 0 and best.value == best.default_value == pytest.approx(0.8)
    assert best.trials == 20, "the finals take no place in the budget"
    assert seeds(tmp_path).count(1) == seeds(tmp_path).count(2) == 4, "three and the defaults"
    rows = pq.read_table(tmp_path / "best" / "trials.parquet").to_pylist()
    lucky = max(rows, key=lambda row: row["quality"])
    assert lucky["mean"] == pytest.approx(1.0 - abs(lucky["x"] - 0.3) + 0.55 / 3)
    page = (tmp_path / "tuning.html").read_text()
    assert "Finals" in page and "seed 2" in page and "trial 0" in page


def test_finals_run_only_when_closing_and_are_not_repeated(tmp_path):
    search(tmp_path, finalists=2, others_ended=False)
    assert set(seeds(tmp_path)) == {0}
    first = search(tmp_path, finalists=2)
    trained = seeds(tmp_path)
    assert search(tmp_path, finalists=2) == first and seeds(tmp_path) == trained, "nothing was left to do"
    more = search(tmp_path, finalists=2, reruns=3)
    assert seeds(tmp_path)[len(trained) :] == [3] * 3 and more.values == first.values


def test_finalist_that_fails_with_another_seed_does_not_win(tmp_path):
    best = search(tmp_path, Lucky(tmp_path / "log", lost=0.7), finalists=3)
    assert best.values == {"x": 0.5} and seeds(tmp_path).count(1) == 4
    assert best.value == pytest.approx(0.8)
