"""Optimisers of a model whose tables are plain nn.Embedding; for TorchRec's tables see shared/training/sharding.py."""

from dataclasses import dataclass
from typing import assert_never

import torch
from torch import nn
from torchrec.optim.rowwise_adagrad import RowWiseAdagrad


@dataclass(frozen=True, kw_only=True)
class Sgd:
    """Stochastic gradient descent."""

    lr: float = 0.1
    """Learning rate."""
    momentum: float = 0.0
    """Share of the previous step that is added."""
    weight_decay: float = 0.0
    """L2 penalty."""


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam; weight decay is added to the gradient (Kingma and Ba, ICLR 2015)."""

    lr: float = 1e-3
    """Learning rate."""
    weight_decay: float = 0.0
    """L2 penalty."""


@dataclass(frozen=True, kw_only=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019)."""

    lr: float = 1e-3
    """Learning rate."""
    weight_decay: float = 0.01
    """Share of each weight that a step with learning rate 1 subtracts."""


@dataclass(frozen=True, kw_only=True)
class RowWiseAdagradAdam:
    """Adagrad with one accumulator per row for embedding tables, Adam for everything else."""

    embedding_lr: float = 0.05
    """Learning rate of embedding tables."""
    dense_lr: float = 1e-3
    """Learning rate of all other parameters."""


OptimizerChoice = Sgd | Adam | AdamW | RowWiseAdagradAdam


def build_optimizers(choice: OptimizerChoice, model: nn.Module) -> list[torch.optim.Optimizer]:
    """Return optimisers that together update every parameter of `model` once."""
    parameters = list(model.parameters())
    match choice:
        case Sgd():
            return [torch.optim.SGD(parameters, choice.lr, momentum=choice.momentum, weight_decay=choice.weight_decay)]
        case Adam():
            return [torch.optim.Adam(parameters, choice.lr, weight_decay=choice.weight_decay, fused=True)]
        case AdamW():
            return [torch.optim.AdamW(parameters, choice.lr, weight_decay=choice.weight_decay, fused=True)]
        case RowWiseAdagradAdam():
            tables = [
                module.get_parameter("weight")
                for module in model.modules()
                if isinstance(module, nn.Embedding | nn.EmbeddingBag)
            ]
            held = {id(table) for table in tables}
            dense = [parameter for parameter in parameters if id(parameter) not in held]
            adagrad: torch.optim.Optimizer = RowWiseAdagrad(tables, choice.embedding_lr)
            return [adagrad, torch.optim.Adam(dense, choice.dense_lr, fused=True)]
        case _:
            assert_never(choice)
