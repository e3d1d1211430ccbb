"""Process group of a torchrun worker: nccl for tensors on GPUs, gloo for tensors on CPUs; safe to restart."""

import contextlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from components.shared.training.exchange import SharedFolder, local_path


@dataclass(frozen=True)
class Group:
    """Ranks and device of this process."""

    rank: int
    world: int
    device: torch.device
    local_rank: int = 0
    """Rank within its node."""
    local_world: int = 1
    """Number of processes on its node."""

    def share(self, count: int) -> slice:
        """Return this rank's slice of `count` rows; `count` must be divisible by the number of ranks."""
        part = count // self.world
        return slice(self.rank * part, (self.rank + 1) * part)


def quiet_third_parties() -> None:
    """Silence known deprecation warnings of fbgemm, torchmetrics and torch's DDP on import and use."""
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(fbgemm_gpu|torchmetrics|torchrec|torch)\b")
    warnings.filterwarnings(
        "ignore",
        message=r".*(broadcast_buffers|use DTensor instead|(all_gather|_tensor`) is deprecated).*",
        category=FutureWarning,
    )


@contextlib.contextmanager
def process_group(timeout: timedelta = timedelta(minutes=10)) -> Iterator[Group]:
    """Join the group described by torchrun's environment; leave it at the end of the block.

    The store's keys include the restart count: torchrun uses one store for all restarts, and a new rank that reads a
    dead rank's address from it cannot connect (pytorch issue 135712).
    """
    cuda = torch.cuda.is_available()
    local_rank = int(os.environ["LOCAL_RANK"])
    device = torch.device("cuda", local_rank) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    store, rank, world = next(dist.rendezvous("env://"))
    store.set_timeout(timeout)
    store = dist.PrefixStore(f"attempt_{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=timeout)
    try:
        yield Group(rank, world, device, local_rank, int(os.environ["LOCAL_WORLD_SIZE"]))
    finally:
        dist.destroy_process_group()


def local_copy(address: str, group: Group) -> Path:
    """Return an input folder on this node: the path itself, or a copy of the URI downloaded by one process per node.

    Raises:
        InputError: the folder is empty or cannot be read, or this node's disk is full.
    """
    copy, folder = local_path(address), SharedFolder(address)
    if folder.remote:
        if group.local_rank == 0 and not copy.exists():
            folder.download(copy)
        dist.barrier()
    return copy
