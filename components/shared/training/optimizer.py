"""Options of the optimiser: rule, learning rates, compute dtype, compilation, seed; does not import torch."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from components.shared.options import Options, Rate, refused

Rule = Literal["rowwise_adagrad", "sgd", "adam", "adamw"]
"""Optimisation rule."""

ComputeDtype = Literal["float32", "bfloat16"]
"""Dtype of matrix products; weights, tables, optimisers and the loss are always float32."""

Sharding = Literal[
    "table_wise", "row_wise", "column_wise", "table_column_wise", "table_row_wise", "grid_shard", "data_parallel"
]
"""TorchRec's sharding types of a table (torchrec.distributed.types.ShardingType)."""

Schedule = Literal["constant", "linear"]
"""Learning rate schedule."""

When = Literal["gpu", "always", "never"]
"""Devices on which a feature is used."""

_COPIED: tuple[Sharding, ...] = ("data_parallel",)
_DENSE_RULES = ("adam", "adamw")
"""Rules for data_parallel only: FBGEMM has no fused Adam for CPUs; TorchRec plans dense gradients for no other type."""


class OptimizerConfig(Options):
    """Rule, learning rates, number format, compilation and the seed of the initial weights.

    There is no option for weight decay: FBGEMM's fused SGD has none, and that of its row-wise Adagrad only affects the
    rows of a batch, so its meaning would depend on rule and sharding.
    """

    embedding_lr: Rate = 0.05
    """Learning rate of embedding tables."""
    dense_lr: Rate = 1e-3
    """Learning rate of dense layers."""
    rule: Rule = "rowwise_adagrad"
    """`rowwise_adagrad`: Adagrad with one statistic per row for tables, fused into the backward pass; Adam elsewhere.
    `sgd`: for all weights, without momentum, fused for tables. `adam`, `adamw`: for all weights, with dense gradients
    of the tables, so that a step costs as much as whole tables and also updates rows outside the batch; `sharding` must
    be data_parallel. `adamw` decays weights by torch's default, 0.01 times the learning rate per step. The default
    rates suit the default rule."""
    compute_dtype: ComputeDtype = "float32"
    """Compute dtype of the dense layers; see compute_dtype.py."""
    sharding: Annotated[tuple[Sharding, ...], Field(min_length=1)] = ("table_wise",)
    """Sharding types that the planner may choose for each table; see `distribute` in sharding.py."""
    schedule: Schedule = "constant"
    """`linear`: both learning rates decay linearly to 0 over all epochs."""
    compile: When = "gpu"
    """Whether `torch.compile` fuses the dense layers. On a CPU it costs a minute at the start and needs a C++ compiler
    (the train image has g++), so there it is only used with `always`."""
    overlap: When = "gpu"
    """Whether to prepare the next batches during a step; see pipelining.py. Never with hard negatives."""
    seed: int = 0
    """Seed of initial weights and sampling."""

    @model_validator(mode="after")
    def _rule_goes_with_sharding(self) -> Self:
        if self.rule in _DENSE_RULES and "sharding" not in self.model_fields_set:
            # A rule with dense gradients sets its own sharding; this bypasses the frozen model.
            object.__setattr__(self, "sharding", _COPIED)
        if self.rule in _DENSE_RULES and self.sharding != _COPIED:
            raise refused(
                f"rule is '{self.rule}', which needs dense gradients, but sharding is {list(self.sharding)}",
                "set sharding to ['data_parallel'], or rule to rowwise_adagrad or sgd",
            )
        return self
