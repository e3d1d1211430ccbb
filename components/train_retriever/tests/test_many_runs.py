"""Every loss and every optimiser rule, trained by one real process and by two, given up and resumed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from components.shared.errors import InputError
from components.shared.models.encoders.config import AttentionConfig, GruConfig, HstuConfig
from components.shared.storage import read_json
from components.shared.tests.starts import own_processes
from components.shared.training.launch import LaunchConfig, Launcher, WorkerTask
from components.shared.training.optimizer import OptimizerConfig
from components.shared.training.process import Torchrun
from components.train_retriever.config import RetrieverTraining, SamplingConfig
from components.train_retriever.job import METRIC
from components.train_retriever.losses.config import (
    Bce,
    Bpr,
    FullSoftmax,
    Hard,
    InBatch,
    Popularity,
    SampledSoftmax,
    Uniform,
)
from components.train_retriever.tests.small_shop import write_features
from components.train_retriever.train import train

BASE = RetrieverTraining(
    sampling=SamplingConfig(batch_size=128, targets=2, seed=7), embedding_dim=8, hidden_dim=16, epochs=2,
    checkpoint_every=10, optimizer=OptimizerConfig(seed=7), launch=LaunchConfig(threads=1),
)  # fmt: skip
"""Fifteen steps an epoch; checkpoints after 10, 15, 20 and 30."""

LOSSES = {
    "full": FullSoftmax(bfloat16=False),
    "sampled": SampledSoftmax(sources=(InBatch(), Uniform(count=64)), bfloat16=False),
    "popular": SampledSoftmax(sources=(Popularity(count=100),), bfloat16=False),
    "bpr": Bpr(source=Uniform(count=4)),
    "bpr-batch": Bpr(source=InBatch(count=3)),
    "bce": Bce(source=Popularity(count=4, power=0.5)),
    "hard": Bpr(source=Hard(count=4, pool=150, refresh=4)),
}
RULES = {
    "sgd": OptimizerConfig(seed=7, rule="sgd", embedding_lr=10.0, dense_lr=0.2),
    "adam": OptimizerConfig(seed=7, rule="adam", embedding_lr=0.02, dense_lr=0.01, sharding=("data_parallel",)),
    "adamw": OptimizerConfig(seed=7, rule="adamw", embedding_lr=0.02, dense_lr=0.01, sharding=("data_parallel",)),
}
LEARNING = {name: BASE.replace(loss=loss) for name, loss in LOSSES.items()}
MOVED = {name: BASE.replace(optimizer=rule) for name, rule in RULES.items()}
ALIKE = {f"{name}-sgd": config.replace(optimizer=RULES["sgd"], epochs=1)
         for name, config in LEARNING.items()}  # fmt: skip
"""By SGD, which magnifies no rounding, so that one process and two can be held against each other closely."""
FRESH = ALIKE["hard-sgd"].replace(loss=Bpr(source=Hard(count=4, pool=150, refresh=1)))
ALIKE["encoder-sgd"] = ALIKE["hard-sgd"].replace(encoder=GruConfig(hidden_dim=8, dropout=0.0))

WITHOUT = {
    "rowwise": BASE,
    "hstu": BASE.replace(encoder=HstuConfig(), loss=LOSSES["sampled"], epochs=1),
    **{name: ALIKE[name] for name in ("full-sgd", "bpr-sgd", "hard-sgd")},
}
"""Runs that are done with steps that overlap, too; those of hard negatives never do."""
OVERLAP = {
    f"{name}-overlap": plain.replace(optimizer=plain.optimizer.replace(overlap="always"))
    for name, plain in WITHOUT.items()
}

RESUMED = ("hard", "sgd", "adam", "rowwise-overlap")
STOP = 23
"""In the middle of the second epoch, three steps after a checkpoint that lies in it."""


class NotRunError(Exception):
    """What ends a stage that was only asked for its task."""


@dataclass(frozen=True)
class Recording:
    """A launcher that keeps the task and runs nothing."""

    tasks: list[WorkerTask]

    def run(self, task: WorkerTask, work: Path) -> None:
        self.tasks.append(task)
        raise NotRunError


@dataclass(frozen=True)
class Shop:
    """Features, and a folder to work in."""

    features: Path
    folder: Path

    def task(self, config: RetrieverTraining) -> WorkerTask:
        """What the stage tells its workers."""
        tasks: list[WorkerTask] = []
        launcher: Launcher = Recording(tasks)
        with pytest.raises(NotRunError):
            train(self.features, self.folder / "unmade", config, launcher=launcher)
        return tasks[0]

    def work(self, processes: int, configs: dict[str, RetrieverTraining], **settings) -> Path:
        """Run many_worker; a folder with one a run."""
        folder = self.folder / str(processes)
        folder.mkdir()
        runs = {name: self.task(config).settings for name, config in configs.items()}
        task = WorkerTask(
            stage="many", module="components.train_retriever.tests.many_worker", digest="", inputs={}, results=(),
            settings={"features": str(self.features), "runs": runs, **settings},
        )  # fmt: skip
        with own_processes():
            Torchrun(LaunchConfig(processes=processes, threads=1, max_restarts=0), None).run(task, folder)
        return folder


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Shop:
    folder = tmp_path_factory.mktemp("many")
    return Shop(write_features(folder / "shop"), folder)


@pytest.fixture(scope="module")
def alone(shop) -> Path:
    """One process; some runs are given up."""
    stops = {f"{name}-stopped": STOP for name in RESUMED}
    configs = {"default": BASE, "fresh": FRESH, **LEARNING, **MOVED, **ALIKE, **WITHOUT, **OVERLAP}
    stopped = {f"{name}-stopped": configs[name] for name in RESUMED}
    return shop.work(1, {**configs, **stopped}, stops=stops, begins={})


@pytest.fixture(scope="module")
def pair(shop, alone) -> Path:
    """Two processes; some runs are given up and gone on with, others are taken over from the one process."""
    configs = {**MOVED, **ALIKE, **WITHOUT, **OVERLAP, "hard": LEARNING["hard"]}
    stops = {f"{name}-stopped": STOP for name in RESUMED}
    begins = {f"{name}-resumed": str(shop.folder / "2" / f"{name}-stopped") for name in RESUMED}
    begins |= {f"{name}-taken": str(alone / f"{name}-stopped") for name in MOVED if name in RESUMED}
    more = {name: configs[name.rpartition("-")[0]] for name in (*stops, *begins)}
    return shop.work(2, {**configs, **more}, stops=stops, begins=begins)


def curve(run: Path, field: str) -> list[float]:
    return [point[field] for point in read_json(run / "curve.json")]


def arrays(run: Path, file: str = "weights") -> dict[str, np.ndarray]:
    return load_file(run / f"{file}.safetensors")


def assert_near(one: Path, other: Path, share: float, loss: float) -> None:
    """Alike up to rounding: weights by a share of their norm, losses relatively."""
    ours, others = arrays(one), arrays(other)
    assert ours.keys() == others.keys()
    for name in ours.keys() - {"item_tower.deep.2.bias"}:  # its gradient is rounding alone, see test_train.py
        assert np.linalg.norm(ours[name] - others[name]) <= share * (np.linalg.norm(others[name]) + 1), name
    assert curve(one, "loss") == pytest.approx(curve(other, "loss"), rel=loss)


def assert_same(one: Path, other: Path) -> None:
    for name, array in arrays(one).items():
        np.testing.assert_array_equal(array, arrays(other)[name], err_msg=name)
    for field in ("step", "loss", METRIC):
        assert curve(one, field) == curve(other, field)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["default", *LEARNING, *MOVED])
def test_every_loss_and_rule_learns(alone, name):
    untrained = read_json(alone / name / "untrained.json")
    assert untrained < 0.1 and max(curve(alone / name, METRIC)) > 3 * untrained


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ALIKE)
def test_two_processes_train_by_every_loss_as_one_does(alone, pair, name):
    assert_near(pair / name, alone / name, share=2e-5, loss=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "share"), [("sgd", 2e-5), ("adam", 0.05), ("adamw", 0.05)])
def test_two_processes_train_by_every_rule_as_one_does(alone, pair, name, share):
    assert_near(pair / name, alone / name, share, loss=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", WITHOUT)
def test_steps_that_overlap_train_as_steps_one_by_one_do(alone, pair, name):
    for folder in (alone, pair):
        assert_same(folder / f"{name}-overlap", folder / name)


@pytest.mark.slow
@pytest.mark.parametrize("name", RESUMED)
def test_a_run_that_was_given_up_ends_as_an_undisturbed_one(pair, name):
    assert len(curve(pair / f"{name}-stopped", "step")) == 1, "it was given up in its second epoch"
    assert_same(pair / f"{name}-resumed", pair / name)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "share"), [("sgd", 2e-5), ("adam", 0.05)])
def test_two_processes_take_over_from_one_with_what_the_rule_remembers(alone, pair, name, share):
    assert_near(pair / f"{name}-taken", alone / name, share, loss=1e-3)


@pytest.mark.slow
def test_hard_negatives_are_looked_up_in_an_index_as_old_as_told(alone):
    often, seldom = curve(alone / "fresh", "loss"), curve(alone / "hard-sgd", "loss")
    assert often == pytest.approx(seldom, rel=0.05) and often != pytest.approx(seldom, rel=1e-5)


@pytest.mark.slow
def test_rows_that_a_gradient_reached_are_noted_by_every_rule(alone):
    wanted = arrays(alone / "default", "trained_rows")
    for name in ("sgd", "adam"):
        found = arrays(alone / name, "trained_rows")
        assert found.keys() == wanted.keys()
        for table in wanted:
            np.testing.assert_array_equal(found[table], wanted[table], err_msg=f"{name} {table}")
    assert not all(rows.all() for rows in wanted.values())
    # Its weight decay moves every row.
    assert all(rows.all() for rows in arrays(alone / "adamw", "trained_rows").values())


@pytest.mark.slow
def test_the_stage_trains_by_the_loss_and_the_rule_that_it_is_given(shop, alone, tmp_path):
    train(shop.features, tmp_path / "model", ALIKE["hard-sgd"])
    assert_same(tmp_path / "model", alone / "hard-sgd")
    for name, rows in arrays(tmp_path / "model", "trained_rows").items():
        np.testing.assert_array_equal(rows, arrays(alone / "hard-sgd", "trained_rows")[name], err_msg=name)


def test_runs_by_another_loss_or_rule_do_not_find_each_others_checkpoints(shop):
    tasks = [shop.task(config) for config in (BASE, *LEARNING.values(), *MOVED.values())]
    tasks.append(shop.task(BASE.replace(loss=Bpr(source=Hard(count=4, pool=151, refresh=4)))))
    assert len({task.digest for task in tasks}) == len(tasks)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoder": HstuConfig(heads=3)}, "encoder: heads is 3, which does not divide .* embedding_dim, 8"),
        ({"encoder": AttentionConfig(max_length=1)}, "encoder: max_length is 1, but sequences have up to"),
    ],
)
def test_what_no_worker_could_train_by_is_refused_before_any_is_started(shop, tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        train(shop.features, tmp_path / "model", BASE.replace(**changes))
    assert not list(tmp_path.iterdir())
