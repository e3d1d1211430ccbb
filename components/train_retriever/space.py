"""What of the retriever may be tuned."""

import dataclasses
from types import NoneType
from typing import get_args

from components.shared.models.encoders.config import EncoderConfig
from components.shared.models.retriever import encoder_from_json
from components.shared.models.variants import json_object
from components.shared.training.optimizer import optimizer_from_json
from components.shared.tuning.hyperparameters import read_hyperparameters
from components.shared.tuning.search_space import Choice, Float, Int, SearchSpace, Variant
from components.train_retriever.loss_json import loss_from_json
from components.train_retriever.train import RetrieverTraining

MODEL = "retriever"
"""Name in hyperparameters.json."""


def search_space(config: RetrieverTraining) -> SearchSpace:
    """Ranges around what the size dial says.

    The share of title queries is left out: validation asks without a query, so it would always choose none.
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


def tuned(config: RetrieverTraining, hyperparameters: str) -> RetrieverTraining:
    """The configuration with what tuning found in it.

    Args:
        config: What the size dial says.
        hyperparameters: JSON, file or folder of hyperparameters.json; empty: nothing was tuned.

    Raises:
        InputError: they are not the retriever's, or a name or value cannot be used.
    """
    if not hyperparameters:
        return config
    return search_space(config).apply(config, read_hyperparameters(hyperparameters, MODEL).values)


def configured(
    config: RetrieverTraining, hyperparameters: str = "", encoder: str = "", loss: str = "", optimizer: str = ""
) -> RetrieverTraining:
    """The configuration with what tuning found in it, and in that what a person asks for.

    Args:
        config: What the size dial says.
        hyperparameters: See `tuned`.
        encoder: JSON of the sequence encoder, null for none; empty: as tuning found it, or none.
        loss: JSON of the loss; empty: softmax over the batch's targets with log-Q.
        optimizer: JSON of some of the optimiser's fields; empty: as tuning found them, or the dial's.

    Raises:
        InputError: one of them cannot be used.
    """
    found = tuned(config, hyperparameters)
    return dataclasses.replace(
        found,
        encoder=_encoder(encoder, found.encoder),
        loss=loss_from_json(json_object(loss, "loss")),
        optimizer=optimizer_from_json(found.optimizer, json_object(optimizer, "optimizer")),
    )


def _encoder(text: str, found: EncoderConfig | None) -> EncoderConfig | None:
    """What a person asks for; null is an answer too, and empty is none."""
    return None if text.strip() == "null" else encoder_from_json(json_object(text, "encoder")) or found
