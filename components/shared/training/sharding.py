"""TorchRec wiring: sharded embedding tables with a fused optimiser, dense parts with Adam.

Initial weights depend on table names and the seed alone, never on how many ranks hold the tables, so that one and
many processes train the same model.
"""

import zlib
from collections.abc import Sequence
from typing import cast, get_args

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed._shard.sharded_tensor import ShardedTensor
from torch.distributed.optim import _apply_optimizer_in_backward as apply_optimizer_in_backward
from torchrec.distributed import DistributedModelParallel
from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
from torchrec.distributed.planner import EmbeddingShardingPlanner, ParameterConstraints
from torchrec.distributed.planner.storage_reservations import FixedPercentageStorageReservation
from torchrec.distributed.planner.types import HardwareConfig, KernelConfig, TopologyFactory, TrainerConfig
from torchrec.distributed.types import ModuleSharder
from torchrec.modules.embedding_modules import EmbeddingBagCollection
from torchrec.optim import RowWiseAdagrad
from torchrec.optim.keyed import CombinedOptimizer, KeyedOptimizerWrapper
from torchrec.optim.optimizers import in_backward_optimizer_filter

from components.shared.errors import InputError
from components.shared.training.group import Group
from components.shared.training.optimizer import OptimizerConfig, Sharding

_TABLES = ".embedding_bags."


class _EverySharding(EmbeddingBagCollectionSharder):
    """Offers the sharding types of GPUs on a CPU too: TorchRec's list leaves three out that gloo does (see tests)."""

    def sharding_types(self, compute_device_type: str) -> list[str]:
        return super().sharding_types("cuda")


def distribute(
    model: nn.Module, group: Group, config: OptimizerConfig
) -> tuple[DistributedModelParallel, CombinedOptimizer]:
    """Shard `model` over the group, each table as the planner chooses among `config.sharding`; attach optimisers.

    Any number of ranks trains the same model by any type. By column (column_wise, table_column_wise, grid_shard) a
    table is halved, and each half of a row has an Adagrad statistic of its own: another algorithm than that of whole
    rows, though the same for any number of ranks. A data_parallel table has dense gradients, so that a step costs what
    the whole table does. Name one type where a run may be resumed with another number of ranks: the planner's choice
    among several may change, and neither halves nor data_parallel tables keep their statistic as whole rows do.

    Args:
        model: Holds EmbeddingBagCollections on the meta device; built from the same torch seed on every rank.
        group: The joined process group.
        config: Learning rates, sharding types and seed.

    Raises:
        InputError: a sharding type is unknown, or none is named.
    """
    _check(config.sharding)
    bags = [module for module in model.modules() if isinstance(module, EmbeddingBagCollection)]
    for collection in bags:
        # A fused table without an optimiser of ours would be moved by fbgemm's default SGD.
        apply_optimizer_in_backward(RowWiseAdagrad, collection.parameters(), {"lr": config.embedding_lr, "eps": 1e-8})
    topology = TopologyFactory.create_topology(
        TrainerConfig(world_size=group.world, local_world_size=group.local_world),
        _hardware(group.device),
        KernelConfig(compute_device=group.device.type),
    )
    planner = EmbeddingShardingPlanner(
        topology=topology,
        constraints={
            table.name: ParameterConstraints(
                sharding_types=list(config.sharding),
                compute_kernels=["fused", "dense"] if "data_parallel" in config.sharding else ["fused"],
                min_partition=max(1, table.embedding_dim // 2),
            )
            for collection in bags
            for table in collection.embedding_bag_configs()
        },
        storage_reservation=FixedPercentageStorageReservation(0.05),
    )
    sharders = [cast(ModuleSharder[nn.Module], _EverySharding())]
    plan = planner.collective_plan(model, sharders, dist.group.WORLD)
    sharded = DistributedModelParallel(model, device=group.device, plan=plan, sharders=sharders)
    initialise_tables(sharded, config.seed)
    return sharded, _optimizer(sharded, config)


def _check(sharding: Sequence[str]) -> None:
    unknown = [name for name in sharding if name not in get_args(Sharding)]
    if unknown or not sharding:
        raise InputError(
            f"sharding is '{unknown[0]}'" if unknown else "sharding names no type",
            f"use some of: {', '.join(get_args(Sharding))}",
        )


def _optimizer(sharded: DistributedModelParallel, config: OptimizerConfig) -> CombinedOptimizer:
    """Fused for sharded tables, the same rule on dense gradients for data_parallel ones, Adam for the rest."""

    def adagrad(weights: object) -> RowWiseAdagrad:
        return RowWiseAdagrad(cast(list[nn.Parameter], weights), lr=config.embedding_lr, eps=1e-8)

    others = dict(in_backward_optimizer_filter(sharded.named_parameters()))
    copied = {name: weight for name, weight in others.items() if _TABLES in name}
    dense = {name: weight for name, weight in others.items() if name not in copied}
    parts = [
        sharded.fused_optimizer,
        KeyedOptimizerWrapper(dense, lambda weights: torch.optim.Adam(weights, lr=config.dense_lr, fused=True)),
    ]
    if copied:
        parts.append(KeyedOptimizerWrapper(copied, adagrad))
    return CombinedOptimizer(parts)


def _hardware(device: torch.device) -> HardwareConfig:
    """What the planner may fill: this GPU's memory, where it would else assume 32 GB."""
    if device.type != "cuda":
        return HardwareConfig()
    return HardwareConfig(hbm_cap_bytes=torch.cuda.get_device_properties(device).total_memory)


def initialise_tables(sharded: DistributedModelParallel, seed: int) -> None:
    """Fill every shard from its table's own random stream; DMP throws the module's initial weights away."""
    for name, tensor in sharded.state_dict().items():
        if _TABLES not in name:
            continue
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()) + seed)
        full = torch.empty(tensor.size()).normal_(0.0, tensor.size()[1] ** -0.5 / 4, generator=generator)
        if not isinstance(tensor, ShardedTensor):
            tensor.detach().copy_(full)
            continue
        for shard in tensor.local_shards():
            where = tuple(
                slice(start, start + size)
                for start, size in zip(shard.metadata.shard_offsets, shard.metadata.shard_sizes, strict=True)
            )
            shard.tensor.detach().copy_(full[where])
