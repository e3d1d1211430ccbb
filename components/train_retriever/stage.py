"""Functions that the component calls: build the training options from sections and pod settings, and train."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.shared.tuning.configured import sized
from components.train_retriever.config import RetrieverTraining
from components.train_retriever.space import configured


def training_for(
    size: str, seed: int, retriever: Mapping[str, Any], training: Mapping[str, Any], task_config: Any = None
) -> RetrieverTraining:
    """Return the training options that the sections describe.

    Args:
        size: tiny, small or full.
        seed: Seed of all random choices.
        retriever: Section `retriever`.
        training: Section `training`.
        task_config: KFP's TaskConfig of the step, or None.

    Raises:
        InputError: names the path of an invalid value.
    """
    config = configured(sized(RetrieverTraining, size, seed, training, task_config), retriever)
    config.check()
    return config


def run(features: Path, out: Path, config: RetrieverTraining) -> dict[str, float]:
    """Train the retriever; see train.train."""
    from components.train_retriever.train import train

    return train(features, out, config, config.launch.checkpoint_folder("retriever"))
