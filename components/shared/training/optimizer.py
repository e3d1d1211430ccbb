"""Rule, learning rates, number format, compilation, seed; apart from torch, which who launches need not import."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from components.shared.config_fields import Rate, check_fields
from components.shared.errors import InputError
from components.shared.models.variants import fields_from_json

Rule = Literal["rowwise_adagrad", "sgd", "adam", "adamw"]
"""How gradients move weights."""

Precision = Literal["float32", "bfloat16"]
"""Of matrix products; weights, tables, optimisers and the loss are float32 in either."""

Sharding = Literal[
    "table_wise", "row_wise", "column_wise", "table_column_wise", "table_row_wise", "grid_shard", "data_parallel"
]
"""TorchRec's ways to lay a table out over ranks (torchrec.distributed.types.ShardingType)."""

Schedule = Literal["constant", "linear"]
"""How learning rates go over a run's steps."""

When = Literal["gpu", "always", "never"]
"""On which devices something is done."""

_DENSE_RULES = ("adam", "adamw")
"""FBGEMM has no fused Adam for CPUs, and TorchRec plans dense gradients for data_parallel tables alone."""

_FIELD = "optimizer"
_COPIED: Sequence[Sharding] = ("data_parallel",)


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Rule, learning rates, number format, compilation and the seed of the initial weights.

    There is no weight decay to choose: FBGEMM's fused SGD has none, and that of its row-wise Adagrad reaches only the
    rows of a batch, so that it would mean another thing under every rule and sharding.
    """

    embedding_lr: Rate = 0.05
    """Of embedding rows."""
    dense_lr: Rate = 1e-3
    """Of the towers."""
    rule: Rule = "rowwise_adagrad"
    """`rowwise_adagrad`: Adagrad with one statistic a row on tables, fused into the backward pass, and Adam elsewhere.
    `sgd`: on everything, without momentum, fused on tables. `adam`, `adamw`: on everything, with dense gradients of the
    tables, so that a step costs what whole tables do and moves rows that the batch lacks; `sharding` must be
    data_parallel. `adamw` decays weights by torch's default, 0.01 times the learning rate a step. The default rates
    suit the default rule."""
    precision: Precision = "float32"
    """Of the dense layers' matrix products; see precision.py."""
    sharding: Sequence[Sharding] = ("table_wise",)
    """Which the planner may choose from for each table; see `distribute` in sharding.py for what they change."""
    schedule: Schedule = "constant"
    """`linear`: from the first step to the last of all epochs both rates fall to nothing in equal parts."""
    compile: When = "gpu"
    """Whether `torch.compile` fuses the dense layers. On a CPU it costs a minute at the start and needs a C++ compiler
    (the train image has g++), so there only `always` does."""
    overlap: When = "gpu"
    """Whether a step begins the next batches before it ends; see pipelining.py. Never with hard negatives."""
    seed: int = 0
    """Of the initial weights and of every sampled batch."""


def check_optimizer(config: OptimizerConfig) -> None:
    """Refuse what no worker could train by.

    Raises:
        InputError: rule, precision, schedule, compile, overlap or a sharding type is unknown, none is named, rule and
            sharding do not go together, or a learning rate is no number from 0.
    """
    check_fields(config, _FIELD)
    if config.rule in _DENSE_RULES and tuple(config.sharding) != _COPIED:
        raise InputError(
            f"{_FIELD}: rule is '{config.rule}', which needs dense gradients, but sharding is {list(config.sharding)}",
            "set sharding to ['data_parallel'], or rule to rowwise_adagrad or sgd",
        )


def optimizer_from_json(default: OptimizerConfig, raw: Mapping[str, Any]) -> OptimizerConfig:
    """The default with what a person sets of it; the seed is a parameter of its own.

    Args:
        default: What the size dial and tuning say.
        raw: Some of rule, embedding_lr, dense_lr, precision, sharding, schedule, compile and overlap. A rule with dense
            gradients brings its sharding along.

    Raises:
        InputError: no such field, or a value cannot be used.
    """
    settable = [field.name for field in dataclasses.fields(OptimizerConfig) if field.name != "seed"]
    for name in raw:
        if name not in settable:
            raise InputError(f"{_FIELD}: '{name}' is no field", f"use some of: {', '.join(settable)}")
    given = dict(raw)
    if given.get("rule") in _DENSE_RULES:
        given.setdefault("sharding", list(_COPIED))
    config = fields_from_json(default, given, _FIELD)
    check_optimizer(config)
    return config
