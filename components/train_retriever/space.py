"""Search space of the retriever."""

from collections.abc import Mapping
from types import NoneType
from typing import Any, get_args

from components.shared.models.encoders.config import EncoderConfig
from components.shared.tuning.configured import configured as overlaid
from components.shared.tuning.search_space import Choice, Float, Int, SearchSpace, Variant
from components.train_retriever.config import RetrieverOptions, RetrieverTraining

MODEL = "retriever"
"""Name of the model in hyperparameters.json."""


def search_space(config: RetrieverTraining) -> SearchSpace:
    """Return ranges around the defaults of the size.

    The share of title queries is not tuned: validation rows have no query, so tuning would always choose 0.
    """
    batch = config.sampling.batch_size
    return SearchSpace({
        "optimizer.embedding_lr": Float(low=0.005, high=0.5, log=True),
        "optimizer.dense_lr": Float(low=1e-4, high=2e-2, log=True),
        "sampling.batch_size": Choice(options=(batch // 2, batch, batch * 2)),
        "sampling.targets": Int(low=1, high=8),
        "sampling.id_dropout": Float(low=0.0, high=0.5),
        "encoder": Variant(kinds=(NoneType, *get_args(EncoderConfig))),
        "encoder.layers": Int(low=1, high=4),
        "encoder.dropout": Float(low=0.0, high=0.6),
        "embedding_dim": Choice(options=_around(config.embedding_dim)),
        "hidden_dim": Choice(options=_around(config.hidden_dim)),
        "epochs": Choice(options=(config.epochs, config.epochs * 2, config.epochs * 4)),
    })  # fmt: skip


def _around(width: int) -> tuple[int, ...]:
    return width // 2, width, width * 2


def configured(base: RetrieverTraining, given: Mapping[str, Any]) -> RetrieverTraining:
    """Apply the tuning result and the options of section `retriever` to the defaults of a size.

    Raises:
        InputError: names the path of an invalid value.
    """
    return overlaid(base, RetrieverOptions, given, MODEL, search_space(base))
