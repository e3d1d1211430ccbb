"""Profile of our training step: self times of torch.profiler by group of operations."""

import torch
import torch.distributed as dist
from torch.profiler import ProfilerActivity

from components.shared.training.group import Group
from tests.benchmarks.throughput.measures import WorkerJob, ours
from tests.benchmarks.throughput.ours import INPUT

STEPS = 10

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("input", (INPUT,)),
    ("embedding update", ("split_embedding_backward", "scatter_add")),
    ("embedding lookup", ("split_embedding_codegen_forward", "split_embedding_codegen_lookup", "bounds_check",
                          "[lookup]", "KeyedTensor", "permute_")),
    ("communication", ("c10d::", "gloo:", "nccl", "dist]", "awaitable", "reducer", "DistributedDataParallel")),
    ("GEMM", ("aten::mm", "aten::addmm", "gemm")),
    ("interaction", ("aten::bmm", "_PairProducts", "aten::index_select", "aten::constant_pad_nd")),
    ("dense optimiser", ("_fused_adam_", "Optimizer.")),
    ("copies", ("aten::copy_", "aten::cat", "aten::fill_", "aten::zero_", "aten::clone")),
    ("element by element", ("aten::clamp_min", "aten::relu", "threshold_backward", "aten::sum", "aten::mul",
                            "aten::add", "sigmoid", "binary_cross_entropy")),
)  # fmt: skip
"""Groups and parts of operation names; the first match decides."""


def group_of(operation: str) -> str:
    """Return the group of an operation, `other` if no name matches."""
    lower = operation.lower()
    return next((name for name, parts in GROUPS if any(part.lower() in lower for part in parts)), "other")


def profile(job: WorkerJob, group: Group) -> dict[str, float]:
    """Return each group's share of the time of one rank's threads; the shares add up to 1."""
    step = ours(job, group).step
    for number in range(job.warm):
        step(number)
    dist.barrier()
    cuda = group.device.type == "cuda"
    activities = [ProfilerActivity.CUDA] if cuda else [ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as profiler:
        for number in range(STEPS):
            step(job.warm + number)
    spent = {name: 0.0 for name, _ in GROUPS} | {"other": 0.0}
    for event in profiler.key_averages():
        spent[group_of(event.key)] += event.self_device_time_total if cuda else event.self_cpu_time_total
    total = sum(spent.values())
    return {name: value / total for name, value in spent.items()}


def bound(shares: dict[str, float]) -> str:
    """Describe the bottleneck of a step in one sentence."""
    ordered = sorted(shares, key=lambda name: -shares[name])
    first, second = ordered[:2]
    share = f"{first} takes {shares[first]:.0%} of a step and {second} {shares[second]:.0%}"
    if first == "GEMM":
        return f"{share}: matrix products bound it first, so that faster ones (bfloat16, a GPU) help most."
    if first in {"embedding update", "embedding lookup"}:
        return f"{share}: random reads of table rows bound it, so that fewer or narrower rows help."
    if first == "communication":
        return f"{share}: what ranks send each other bounds it, so that larger batches or fewer processes help."
    return f"{share}: neither arithmetic nor memory bounds it but {first}."
