"""Task heads of the ranker: separate towers, a shared bottom, a mixture of experts, or progressive layers."""

import torch
from torch import nn

from components.shared.models.aligned_linear import AlignedLinear
from components.shared.models.ranker_options import (
    HeadsConfig,
    MmoeConfig,
    PleConfig,
    SharedBottomConfig,
    SingleTaskConfig,
)


def tower(inputs: int, hidden: int) -> nn.Sequential:
    """Return two hidden layers."""
    return nn.Sequential(AlignedLinear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())


class SingleTask(nn.Module):
    """See SingleTaskConfig."""

    def __init__(self, inputs: int, hidden: int, tasks: int):
        super().__init__()
        self.towers = nn.ModuleList([nn.Sequential(*tower(inputs, hidden), nn.Linear(hidden, 1)) for _ in range(tasks)])

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map [P, inputs] to logits [P, tasks]."""
        return torch.cat([one(features) for one in self.towers], 1)


class SharedBottom(nn.Module):
    """See SharedBottomConfig."""

    def __init__(self, inputs: int, hidden: int, tasks: int):
        super().__init__()
        self.bottom = tower(inputs, hidden)
        self.logits = nn.Linear(hidden, tasks)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map [P, inputs] to logits [P, tasks]."""
        return self.logits(self.bottom(features))


class Experts(nn.Module):
    """E one-layer experts, computed by one matrix."""

    def __init__(self, inputs: int, hidden: int, experts: int):
        super().__init__()
        self.layer, self.shape = nn.Linear(inputs, experts * hidden), (experts, hidden)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map [P, inputs] to [P, E, hidden]."""
        return torch.relu(self.layer(features)).unflatten(1, self.shape)


def mixed(experts_PEH: torch.Tensor, gate_PE: torch.Tensor) -> torch.Tensor:
    """Return the sum of the experts weighted by the softmax of their gate, [P, H]."""
    return (experts_PEH * torch.softmax(gate_PE, 1).unsqueeze(2)).sum(1)


class Mmoe(nn.Module):
    """See MmoeConfig."""

    def __init__(self, config: MmoeConfig, inputs: int, hidden: int, tasks: int):
        super().__init__()
        self.experts = Experts(inputs, hidden, config.experts)
        self.gates = nn.ModuleList([nn.Linear(inputs, config.experts) for _ in range(tasks)])
        self.towers = nn.ModuleList([_task_tower(hidden) for _ in range(tasks)])

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map [P, inputs] to logits [P, tasks]."""
        experts = self.experts(features)
        gates = zip(self.gates, self.towers, strict=True)
        return torch.cat([one(mixed(experts, gate(features))) for gate, one in gates], 1)


class Extraction(nn.Module):
    """One layer of PLE: each task mixes its own and the shared experts; the shared path mixes all experts."""

    def __init__(self, config: PleConfig, inputs: int, hidden: int, tasks: int, last: bool):
        super().__init__()
        self.shared = Experts(inputs, hidden, config.shared)
        self.own = nn.ModuleList([Experts(inputs, hidden, config.own) for _ in range(tasks)])
        self.gates = nn.ModuleList([nn.Linear(inputs, config.shared + config.own) for _ in range(tasks)])
        every = config.shared + tasks * config.own
        self.shared_gate = None if last else nn.Linear(inputs, every)

    def forward(self, tasks: list[torch.Tensor], shared: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Map the tasks' inputs and the shared input, [P, inputs] each, to outputs [P, hidden]."""
        common = self.shared(shared)
        own = [experts(one) for experts, one in zip(self.own, tasks, strict=True)]
        outcome = [
            mixed(torch.cat([common, experts], 1), gate(one))
            for experts, gate, one in zip(own, self.gates, tasks, strict=True)
        ]
        if self.shared_gate is not None:
            shared = mixed(torch.cat([common, *own], 1), self.shared_gate(shared))
        return outcome, shared


class Ple(nn.Module):
    """See PleConfig."""

    def __init__(self, config: PleConfig, inputs: int, hidden: int, tasks: int):
        super().__init__()
        widths = [inputs] + [hidden] * (config.layers - 1)
        self.layers = nn.ModuleList(
            [Extraction(config, width, hidden, tasks, at + 1 == config.layers) for at, width in enumerate(widths)]
        )
        self.towers = nn.ModuleList([_task_tower(hidden) for _ in range(tasks)])

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map [P, inputs] to logits [P, tasks]."""
        tasks, shared = [features] * len(self.towers), features
        for layer in self.layers:
            tasks, shared = layer(tasks, shared)
        return torch.cat([one(task) for one, task in zip(self.towers, tasks, strict=True)], 1)


def _task_tower(hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))


def task_heads(config: HeadsConfig, inputs: int, hidden: int, tasks: int) -> nn.Module:
    """Return the module of a config, which maps [P, inputs] to logits [P, tasks]."""
    match config:
        case SingleTaskConfig():
            return SingleTask(inputs, hidden, tasks)
        case SharedBottomConfig():
            return SharedBottom(inputs, hidden, tasks)
        case MmoeConfig():
            return Mmoe(config, inputs, hidden, tasks)
        case PleConfig():
            return Ple(config, inputs, hidden, tasks)
