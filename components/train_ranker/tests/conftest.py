"""Runs of the real trainer under the real torchrun on the tiny shop."""

from collections.abc import Callable
from pathlib import Path

import pytest

from components.shared.training.launch import LaunchConfig
from components.shared.training.optimizer import OptimizerConfig
from components.train_ranker.config import RankerTraining
from components.train_ranker.train import train

CONFIG = RankerTraining(
    embedding_dim=8, hidden_dim=16, epochs=2, batch_shoppers=10,
    own_candidates=40, retrieved_candidates=30, popular_candidates=10, similar_candidates=30,
    optimizer=OptimizerConfig(embedding_lr=0.02, dense_lr=1e-3, seed=7), checkpoint_every=2,
    anonymous_share=0.0,
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
        made = CONFIG.replace(launch=launch, **changes)
        train(features or tiny_run.features, tiny_run.retriever, folder / "model", made, folder / "lasting")
        assert not list((folder / "lasting").iterdir()), "checkpoints of a finished run are in nobody's way"
        return folder / "model"

    return run


@pytest.fixture(scope="session")
def alone(fit) -> Path:
    """One process."""
    return fit(1)
