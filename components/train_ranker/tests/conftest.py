"""Fixtures that run the real trainer under the real torchrun on the tiny shop."""

from collections.abc import Callable
from pathlib import Path

import pytest

from components.shared.tests.starts import locked, shared_folder
from components.shared.training.launch import LaunchConfig
from components.shared.training.optimizer import OptimizerConfig
from components.train_ranker.config import RankerTraining
from components.train_ranker.train import train, write_all_pairs

CONFIG = RankerTraining(
    embedding_dim=8, hidden_dim=16, epochs=2, batch_shoppers=10,
    own_candidates=40, retrieved_candidates=30, popular_candidates=10, similar_candidates=30,
    optimizer=OptimizerConfig(embedding_lr=0.02, dense_lr=1e-3, seed=7), checkpoint_every=2,
    anonymous_share=0.0,
)  # fmt: skip
"""Five steps per epoch."""


@pytest.fixture(scope="session")
def config() -> RankerTraining:
    return CONFIG


@pytest.fixture(scope="session")
def fit(tiny_run, tmp_path_factory) -> Callable[..., Path]:
    """Train with 1 or more processes and return the model folder."""

    def run(processes: int, features: Path | None = None, **changes) -> Path:
        folder = tmp_path_factory.mktemp("ranker")
        launch = LaunchConfig(processes=processes, max_restarts=0, threads=1)
        training = CONFIG.replace(launch=launch, **changes)
        train(features or tiny_run.features, tiny_run.retriever, folder / "model", training, folder / "lasting")
        assert not list((folder / "lasting").iterdir()), "checkpoints of a finished run are in nobody's way"
        return folder / "model"

    return run


@pytest.fixture(scope="session")
def shared_model(fit, tmp_path_factory) -> Callable[..., Path]:
    """A model folder shared by many tests, trained on its first use in the whole test session."""
    root = shared_folder(tmp_path_factory, "ranker_runs")

    def run(name: str, **changes) -> Path:
        with locked(root / f"{name}.lock"):
            if not (root / name).exists():
                fit(1, **changes).rename(root / name)
        return root / name

    return run


@pytest.fixture(scope="session")
def one_process(shared_model) -> Path:
    """Model trained by one process."""
    return shared_model("alone")


@pytest.fixture(scope="session")
def streamed(shared_model) -> Path:
    """Model trained by one process that streams its pairs."""
    return shared_model("streamed", held_pairs=0)


@pytest.fixture(scope="session")
def not_refitted(shared_model) -> Path:
    """Model trained by one process without the refit: the weights of the best epoch are final."""
    return shared_model("not_refitted", refit=False)


@pytest.fixture(scope="session")
def all_pairs(tiny_run, tmp_path_factory) -> Path:
    """Folder with the training pairs for CONFIG; copy it instead of changing it."""
    root = shared_folder(tmp_path_factory, "ranker_runs")
    with locked(root / "pairs.lock"):
        if not (root / "pairs").exists():
            write_all_pairs(tiny_run.features, tiny_run.retriever, root / "pairs", CONFIG)
    return root / "pairs"
