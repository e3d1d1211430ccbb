"""The stage as its component runs it: sections and the pod's settings in, metrics out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.shared.tuning.configured import sized
from components.train_retriever.config import RetrieverTraining
from components.train_retriever.space import configured


def training_for(
    size: str, seed: int, retriever: Mapping[str, Any], training: Mapping[str, Any], task_config: Any = None
) -> RetrieverTraining:
    """The training that the sections describe.

    Args:
        size: tiny, small or full.
        seed: Of everything random.
        retriever: Section `retriever`.
        training: Section `training`.
        task_config: KFP's TaskConfig of the step; None: there is none.

    Raises:
        InputError: names the path of a value that cannot be used.
    """
    config = configured(sized(RetrieverTraining, size, seed, training, task_config), retriever)
    config.check()
    return config


def run(features: Path, out: Path, config: RetrieverTraining) -> dict[str, float]:
    """Train; see train.train."""
    from components.train_retriever.train import train

    return train(features, out, config, config.launch.lasting("retriever"))
