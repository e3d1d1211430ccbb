"""Every loss and optimizer rule, trained by one and by two real processes, interrupted and resumed."""

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
"""Fifteen steps per epoch; checkpoints after 10, 15, 20 and 30."""

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
BY_LOSS = {name: BASE.replace(loss=loss) for name, loss in LOSSES.items()}
BY_RULE = {name: BASE.replace(optimizer=rule) for name, rule in RULES.items()}
WITH_SGD = {f"{name}-sgd": config.replace(optimizer=RULES["sgd"], epochs=1)
            for name, config in BY_LOSS.items()}  # fmt: skip
"""With SGD, which does not amplify rounding errors, so that one and two processes can be compared closely."""
FRESH = WITH_SGD["hard-sgd"].replace(loss=Bpr(source=Hard(count=4, pool=150, refresh=1)))
WITH_SGD["encoder-sgd"] = WITH_SGD["hard-sgd"].replace(encoder=GruConfig(hidden_dim=8, dropout=0.0))

SEQUENTIAL = {
    "rowwise": BASE,
    "hstu": BASE.replace(encoder=HstuConfig(), loss=LOSSES["sampled"], epochs=1),
    **{name: WITH_SGD[name] for name in ("full-sgd", "bpr-sgd", "hard-sgd")},
}
"""Runs that are repeated with overlapping steps; steps with hard negatives never overlap."""
OVERLAPPING = {
    f"{name}-overlap": plain.replace(optimizer=plain.optimizer.replace(overlap="always"))
    for name, plain in SEQUENTIAL.items()
}

RESUMED = ("hard", "sgd", "adam", "rowwise-overlap")
STOP = 23
"""A step in the middle of the second epoch, three steps after a checkpoint."""


class NotRunError(Exception):
    """Ends a stage as soon as it hands over its worker task."""


@dataclass(frozen=True)
class Recording:
    """A launcher that records the task and runs nothing."""

    tasks: list[WorkerTask]

    def run(self, task: WorkerTask, work: Path) -> None:
        self.tasks.append(task)
        raise NotRunError


@dataclass(frozen=True)
class Shop:
    """Features and a working folder."""

    features: Path
    folder: Path

    def task(self, config: RetrieverTraining) -> WorkerTask:
        """The task that the stage passes to its workers."""
        tasks: list[WorkerTask] = []
        launcher: Launcher = Recording(tasks)
        with pytest.raises(NotRunError):
            train(self.features, self.folder / "unmade", config, launcher=launcher)
        return tasks[0]

    def work(self, processes: int, configs: dict[str, RetrieverTraining], **settings) -> Path:
        """Run many_worker; returns a folder with one subfolder per run."""
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
def one_process(shop) -> Path:
    """Runs of one process; some are stopped early."""
    stops = {f"{name}-stopped": STOP for name in RESUMED}
    configs = {"default": BASE, "fresh": FRESH, **BY_LOSS, **BY_RULE, **WITH_SGD, **SEQUENTIAL, **OVERLAPPING}
    stopped = {f"{name}-stopped": configs[name] for name in RESUMED}
    return shop.work(1, {**configs, **stopped}, stops=stops, begins={})


@pytest.fixture(scope="module")
def two_processes(shop, one_process) -> Path:
    """Runs of two processes; some are stopped and resumed, others resume a run of one process."""
    configs = {**BY_RULE, **WITH_SGD, **SEQUENTIAL, **OVERLAPPING, "hard": BY_LOSS["hard"]}
    stops = {f"{name}-stopped": STOP for name in RESUMED}
    begins = {f"{name}-resumed": str(shop.folder / "2" / f"{name}-stopped") for name in RESUMED}
    begins |= {f"{name}-taken": str(one_process / f"{name}-stopped") for name in BY_RULE if name in RESUMED}
    more = {name: configs[name.rpartition("-")[0]] for name in (*stops, *begins)}
    return shop.work(2, {**configs, **more}, stops=stops, begins=begins)


def curve(run: Path, field: str) -> list[float]:
    return [point[field] for point in read_json(run / "curve.json")]


def arrays(run: Path, file: str = "weights") -> dict[str, np.ndarray]:
    return load_file(run / f"{file}.safetensors")


def assert_near(one: Path, other: Path, share: float, loss: float) -> None:
    """Equal up to rounding: weights within `share` of their norm, losses within `loss` relatively."""
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
@pytest.mark.parametrize("name", ["default", *BY_LOSS, *BY_RULE])
def test_every_loss_and_rule_learns(one_process, name):
    untrained = read_json(one_process / name / "untrained.json")
    assert untrained < 0.1 and max(curve(one_process / name, METRIC)) > 3 * untrained


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", WITH_SGD)
def test_two_processes_match_one_process_for_every_loss(one_process, two_processes, name):
    assert_near(two_processes / name, one_process / name, share=2e-5, loss=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "share"), [("sgd", 2e-5), ("adam", 0.05), ("adamw", 0.05)])
def test_two_processes_match_one_process_for_every_optimizer_rule(one_process, two_processes, name, share):
    assert_near(two_processes / name, one_process / name, share, loss=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", SEQUENTIAL)
def test_overlapping_steps_give_the_same_model_as_sequential_steps(one_process, two_processes, name):
    for folder in (one_process, two_processes):
        assert_same(folder / f"{name}-overlap", folder / name)


@pytest.mark.slow
@pytest.mark.parametrize("name", RESUMED)
def test_resumed_run_is_identical_to_an_uninterrupted_one(two_processes, name):
    assert len(curve(two_processes / f"{name}-stopped", "step")) == 1, "it was given up in its second epoch"
    assert_same(two_processes / f"{name}-resumed", two_processes / name)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "share"), [("sgd", 2e-5), ("adam", 0.05)])
def test_two_processes_resume_a_run_of_one_with_its_optimizer_state(one_process, two_processes, name, share):
    assert_near(two_processes / f"{name}-taken", one_process / name, share, loss=1e-3)


@pytest.mark.slow
def test_hard_negative_refresh_interval_changes_the_loss_slightly(one_process):
    often, seldom = curve(one_process / "fresh", "loss"), curve(one_process / "hard-sgd", "loss")
    assert often == pytest.approx(seldom, rel=0.05) and often != pytest.approx(seldom, rel=1e-5)


@pytest.mark.slow
def test_trained_rows_do_not_depend_on_the_rule_without_weight_decay(one_process):
    expected = arrays(one_process / "default", "trained_rows")
    for name in ("sgd", "adam"):
        found = arrays(one_process / name, "trained_rows")
        assert found.keys() == expected.keys()
        for table in expected:
            np.testing.assert_array_equal(found[table], expected[table], err_msg=f"{name} {table}")
    assert not all(rows.all() for rows in expected.values())
    # AdamW's weight decay updates every row.
    assert all(rows.all() for rows in arrays(one_process / "adamw", "trained_rows").values())


@pytest.mark.slow
def test_stage_trains_with_the_configured_loss_and_rule(shop, one_process, tmp_path):
    train(shop.features, tmp_path / "model", WITH_SGD["hard-sgd"])
    assert_same(tmp_path / "model", one_process / "hard-sgd")
    for name, rows in arrays(tmp_path / "model", "trained_rows").items():
        np.testing.assert_array_equal(rows, arrays(one_process / "hard-sgd", "trained_rows")[name], err_msg=name)


def test_runs_with_different_losses_or_rules_have_different_digests(shop):
    tasks = [shop.task(config) for config in (BASE, *BY_LOSS.values(), *BY_RULE.values())]
    tasks.append(shop.task(BASE.replace(loss=Bpr(source=Hard(count=4, pool=151, refresh=4)))))
    assert len({task.digest for task in tasks}) == len(tasks)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": HstuConfig(heads=3)}, "encoder: heads is 3, which does not divide .* embedding_dim, 8"),
        ({"encoder": AttentionConfig(max_length=1)}, "encoder: max_length is 1, but sequences have up to"),
    ],
)
def test_encoder_that_does_not_fit_is_refused_before_training(shop, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        train(shop.features, tmp_path / "model", BASE.replace(**changes))
    assert not list(tmp_path.iterdir())
