"""The search: it finds a known best, prunes, survives failures, and reports the same in file, table and page."""

import re
from dataclasses import dataclass
from types import NoneType
from typing import ClassVar, Literal

import pyarrow.parquet as pq
import pytest

from components.shared.errors import InputError, TrainingError
from components.shared.options import Options
from components.shared.storage import read_json
from components.shared.tuning.search_space import Choice, Float, Int, SearchSpace, Value, Variant
from components.tune_hyperparameters.config import TuningConfig
from components.tune_hyperparameters.tests.bowl import Bowl
from components.tune_hyperparameters.tune import tune


def run_search(folder, bowl=None, **changes):
    bowl = bowl or Bowl(folder / "log")
    best = tune(bowl, folder / "best", folder / "tuning.html", TuningConfig(**{"trials": 30, **changes}))
    return best, pq.read_table(folder / "best" / "trials.parquet").to_pylist()


def test_search_approaches_the_known_best_and_starts_with_the_defaults(tmp_path):
    best, rows = run_search(tmp_path)
    assert best.value is not None and best.value > 0.95, "1.1 is the top, the defaults lie at -0.006"
    assert best.values["shape"] == "round" and abs(best.values["x"] - 0.3) < 0.1
    assert rows[0]["defaults"] and [rows[0][name] for name in Bowl.defaults] == list(Bowl.defaults.values())
    assert best.default_value == rows[0]["quality"] and best.trials == len(rows) == 30
    won = rows[best.trial]
    assert best.value == won["quality"] == max(row["quality"] for row in rows if row["state"] == "complete")
    assert {name: won[name] for name in best.values} == best.values
    assert read_json(tmp_path / "best" / "hyperparameters.json")["values"] == best.values


def test_search_is_reproducible_by_seed(tmp_path):
    def configurations(name, **changes):
        (tmp_path / name).mkdir()
        rows = run_search(tmp_path / name, trials=14, **changes)[1]
        return [tuple(row[field] for field in Bowl.defaults) for row in rows]

    one = configurations("a")
    assert one == configurations("b") and one != configurations("c", seed=1)
    assert len(set(one)) > 12


@pytest.mark.parametrize("pruning", ["median", "asha", "none"])
def test_pruned_trials_end_early_and_never_win(pruning, tmp_path):
    best, rows = run_search(tmp_path, pruning=pruning)
    pruned = [row for row in rows if row["state"] == "pruned"]
    assert bool(pruned) == (pruning != "none")
    assert all(2 <= row["epochs_done"] <= 4 for row in pruned) and rows[0] not in pruned
    assert any(row["epochs_done"] == 2 for row in pruned) or pruning == "none"
    assert rows[best.trial]["state"] == "complete" and rows[best.trial]["epochs_done"] == 4


@dataclass(frozen=True)
class Slope(Bowl):
    """Longer trainings end with a better metric, but have a lower one after the same epoch."""

    space = SearchSpace({"epochs": Choice(options=(4, 8, 16)), "x": Float(low=0.0, high=1.0)})
    defaults: ClassVar[dict[str, Value]] = {"epochs": 4, "x": 0.5}

    def train(self, values, out, on_epoch):
        epochs = values["epochs"]
        for epoch in range(1, epochs + 1):
            on_epoch(epoch, (epochs + 0.001 * values["x"]) * (epoch / epochs) ** 4)
        out.mkdir(parents=True)
        return epochs


@pytest.mark.parametrize("pruning", ["median", "asha"])
def test_longer_training_is_not_pruned_for_a_slower_start(pruning, tmp_path):
    best, rows = run_search(tmp_path, Slope(tmp_path / "log"), pruning=pruning, trials=20)
    assert best.values["epochs"] == 16
    assert rows[best.trial]["epochs_done"] == 16 and rows[0]["epochs_done"] == 4
    assert all(row["epochs_done"] <= row["epochs"] for row in rows if row["state"] == "pruned")


@pytest.mark.parametrize("problem", [TrainingError, InputError])
def test_failed_trial_is_reported_with_its_error_and_the_search_continues(problem, tmp_path):
    best, rows = run_search(tmp_path, Bowl(tmp_path / "log", breaks_above=0.92, problem=problem))
    failed = [row for row in rows if row["state"] == "failed"]
    assert failed and all(row["problem"] == "the loss is nan" and row["x"] > 0.92 for row in failed)
    assert len(rows) == 30 and best.value > 0.9
    assert "the loss is nan" in (tmp_path / "tuning.html").read_text()


def test_defaults_that_cannot_be_trained_end_the_search(tmp_path):
    storage = str(tmp_path / "studies")
    with pytest.raises(TrainingError, match="nan"):
        run_search(tmp_path, Bowl(tmp_path / "log", breaks_above=0.5), storage=storage)
    assert not (tmp_path / "best").exists() and not (tmp_path / "tuning.html").exists()
    fixed, rows = run_search(tmp_path, storage=storage, trials=2)
    assert fixed.default_value is not None and [row["state"] for row in rows] == ["lost", "complete", "complete"]


class Slow(Bowl):
    """Scoring is slower the nearer the values are to the best."""

    def train(self, values, out, on_epoch):
        depth = super().train(values, out, on_epoch)
        (out / "ms").write_text(str(10 + 10 * depth))
        return depth

    def scoring_ms(self, trained):
        return float((trained / "ms").read_text())


def test_best_of_two_objectives_is_at_most_slightly_slower_than_defaults(tmp_path):
    best, rows = run_search(tmp_path, Slow(tmp_path / "log"), objective="quality-latency")
    assert {row["state"] for row in rows} == {"complete"}, "nothing is pruned by two objectives"
    limit = rows[0]["latency_ms"] * 1.05
    assert best.value == max(row["quality"] for row in rows if row["latency_ms"] <= limit)
    assert best.value < max(row["quality"] for row in rows)
    page = (tmp_path / "tuning.html").read_text()
    assert "Pareto front" in page


def test_report_is_self_contained_and_shows_all_views(tmp_path):
    best, _ = run_search(tmp_path)
    page = (tmp_path / "tuning.html").read_text()
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page) and "<script" not in page
    assert page.count("<svg") == 3, "history, importance, parallel coordinates"
    for words in ("Best five trials", "PED-ANOVA", "defaults", best.study, f"trial {best.trial}"):
        assert words in page
    single = run_search(tmp_path, trials=1)[0]
    assert single.value == single.default_value and "+0.0%" in (tmp_path / "tuning.html").read_text()


class Bent(Options):
    """A variant that has a field."""

    kind: Literal["bent"] = "bent"
    x: float = 0.9


@dataclass(frozen=True)
class Parted(Bowl):
    """Best with the variant, and its field at 0.3."""

    space = SearchSpace({"part": Variant(kinds=(NoneType, Bent)), "part.x": Float(low=0.0, high=1.0),
                         "n": Int(low=1, high=64)})  # fmt: skip
    defaults: ClassVar[dict[str, Value]] = {"part": "none", "n": 32}

    def train(self, values, out, on_epoch):
        assert ("part.x" in values) == (values["part"] == "bent")
        out.mkdir(parents=True)
        return 1.0 - abs(values["part.x"] - 0.3) if "part.x" in values else 0.2


def test_field_of_a_variant_is_searched_only_with_that_variant(tmp_path):
    best, rows = run_search(tmp_path, Parted(tmp_path / "log"))
    x = best.values["part.x"]
    assert best.values["part"] == "bent" and isinstance(x, float) and abs(x - 0.3) < 0.1
    without = [row for row in rows if row["part"] == "none"]
    assert rows[0] in without and all(row["part.x"] is None for row in without)
    assert all(0.0 <= row["part.x"] <= 1.0 for row in rows if row not in without)
    page = (tmp_path / "tuning.html").read_text()
    assert "part.x" in page and page.count("<svg") == 3


@pytest.mark.parametrize(
    "invalid",
    [
        {"trials": 0},
        {"objective": "speed"},
        {"pruning": "hope"},
        {"study": "a/b"},
        {"study": ""},
        {"finalists": -1},
        {"reruns": 0},
    ],
)
def test_invalid_tuning_options_are_refused_with_their_path(invalid):
    with pytest.raises(InputError, match=rf"tuning\.{next(iter(invalid))} is") as caught:
        TuningConfig.read(invalid, "tuning")
    assert caught.value.fix
