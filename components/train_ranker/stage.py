"""Functions that the component calls: build the training options from sections and pod settings, and train."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.shared.tuning.configured import sized
from components.train_ranker.config import RankerTraining
from components.train_ranker.space import configured


def training_for(
    size: str, seed: int, ranker: Mapping[str, Any], training: Mapping[str, Any], task_config: Any = None
) -> RankerTraining:
    """Return the training options that the sections describe.

    Args:
        size: tiny, small or full.
        seed: Seed of all random choices.
        ranker: Section `ranker`.
        training: Section `training`.
        task_config: KFP's TaskConfig of the step, or None.

    Raises:
        InputError: names the path of an invalid value.
    """
    config = configured(sized(RankerTraining, size, seed, training, task_config), ranker)
    config.check()
    return config


def run(features: Path, retriever: Path, out: Path, config: RankerTraining) -> dict[str, float]:
    """Train the ranker; see teacher.train_ranker."""
    from components.train_ranker.teacher import train_ranker

    return train_ranker(features, retriever, out, config, config.launch.checkpoint_folder("ranker"))
