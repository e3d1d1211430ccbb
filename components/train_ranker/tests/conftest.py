"""Runs of the real trainer under the real torchrun on the tiny shop."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from components.shared.recommender.candidates import CandidateConfig
from components.shared.training.launch import LaunchConfig
from components.shared.training.optimizer import OptimizerConfig
from components.train_ranker.train import RankerTraining, train

CONFIG = RankerTraining(
    embedding_dim=8, hidden_dim=16, epochs=2, batch_shoppers=10,
    candidates=CandidateConfig(own=40, retrieved=30, popular=10, similar=30),
    optimizer=OptimizerConfig(embedding_lr=0.02, dense_lr=1e-3, seed=7), checkpoint_every=2,
    strangers=0.0,
)  # fmt: skip
"""Five steps an epoch."""


@pytest.fixture(scope="session")
def config() -> RankerTraining:
    return CONFIG


@pytest.fixture(scope="session")
def fit(tiny_run, tmp_path_factory) -> Callable[..., Path]:
    """Train with 1 or more processes and give the model folder."""

    def run(processes: int, features: Path | None = None, **changes) -> Path:
        folder = tmp_path_factory.mktemp("ranker")
        launch = LaunchConfig(processes=processes, max_restarts=0, threads=1)
        made = dataclasses.replace(CONFIG, launch=launch, **changes)
        train(features or tiny_run.features, tiny_run.retriever, folder / "model", made, folder / "lasting")
        assert not list((folder / "lasting").iterdir()), "checkpoints of a finished run are in nobody's way"
        return folder / "model"

    return run


@pytest.fixture(scope="session")
def alone(fit) -> Path:
    """One process."""
    return fit(1)
