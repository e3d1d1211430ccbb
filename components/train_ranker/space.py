"""What of the ranker may be tuned."""

import dataclasses
from types import NoneType

from components.shared.models.interactions import INTERACTIONS
from components.shared.models.ranker import RankerArchitecture
from components.shared.models.target_attention import TargetAttentionConfig
from components.shared.models.task_heads import HEADS
from components.shared.models.variants import json_object
from components.shared.training.optimizer import optimizer_from_json
from components.shared.tuning.hyperparameters import read_hyperparameters
from components.shared.tuning.search_space import Choice, Float, SearchSpace, Variant
from components.train_ranker.train import RankerTraining

MODEL = "ranker"
"""Name in hyperparameters.json."""


def search_space(config: RankerTraining) -> SearchSpace:
    """Ranges around what the size dial says; the candidates stay, because the trials share their pairs.

    Tables that move faster learn the last baskets by heart: a window later that costs more than it brings on the first.
    """
    batch = config.batch_shoppers
    return SearchSpace({
        "optimizer.embedding_lr": Float(low=1e-5, high=0.01, log=True),
        "optimizer.dense_lr": Float(low=1e-4, high=1e-2, log=True),
        "batch_shoppers": Choice(options=(max(batch // 2, 1), batch, batch * 2)),
        "id_dropout": Float(low=0.0, high=0.9),
        "listwise": Float(low=0.0, high=1.0),
        "architecture.interaction": Variant(kinds=INTERACTIONS),
        "architecture.heads": Variant(kinds=HEADS),
        "architecture.attention": Variant(kinds=(NoneType, TargetAttentionConfig)),
        "embedding_dim": Choice(options=_around(config.embedding_dim)),
        "hidden_dim": Choice(options=_around(config.hidden_dim)),
        "epochs": Choice(options=(config.epochs, config.epochs * 2)),
    })  # fmt: skip


def _around(width: int) -> tuple[int, ...]:
    return width // 2, width, width * 2


def tuned(config: RankerTraining, hyperparameters: str) -> RankerTraining:
    """The configuration with what tuning found in it.

    Args:
        config: What the size dial says.
        hyperparameters: JSON, file or folder of hyperparameters.json; empty: nothing was tuned.

    Raises:
        InputError: they are not the ranker's, or a name or value cannot be used.
    """
    if not hyperparameters:
        return config
    return search_space(config).apply(config, read_hyperparameters(hyperparameters, MODEL).values)


def configured(
    config: RankerTraining, hyperparameters: str = "", architecture: str = "", optimizer: str = "", hot: int = 0
) -> RankerTraining:
    """The configuration with what tuning found in it, and in that what a person asks for.

    Args:
        config: What the size dial says.
        hyperparameters: See `tuned`.
        architecture: JSON of some parts of the architecture; those that are absent are as tuning found them, and a null
            attention is none.
        optimizer: JSON of some of the optimiser's fields; the others are as tuning found them.
        hot: Items of the highest time-decayed popularity among every shopper's candidates.

    Raises:
        InputError: one of them cannot be used.
    """
    found = tuned(config, hyperparameters)
    return dataclasses.replace(
        found,
        candidates=dataclasses.replace(found.candidates, hot=hot),
        architecture=RankerArchitecture.from_json(json_object(architecture, "architecture"), found.architecture),
        optimizer=optimizer_from_json(found.optimizer, json_object(optimizer, "optimizer")),
    )
