"""TorchRec wiring: sharded embedding tables, most with a fused optimiser, and dense parts with a plain one.

Initial weights depend only on table names and the seed, not on the number of ranks, so that one process and many
processes train the same model.
"""

import zlib
from typing import cast

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
from torchrec.optim.keyed import CombinedOptimizer, KeyedOptimizerWrapper, OptimizerFactory
from torchrec.optim.optimizers import in_backward_optimizer_filter

from components.shared.training.group import Group
from components.shared.training.optimizer import OptimizerConfig

_TABLES = ".embedding_bags."


class _EverySharding(EmbeddingBagCollectionSharder):
    """Allows the sharding types of GPUs on a CPU too: TorchRec's list omits three that gloo supports (see tests)."""

    def sharding_types(self, compute_device_type: str) -> list[str]:
        return super().sharding_types("cuda")


def distribute(
    model: nn.Module, group: Group, config: OptimizerConfig
) -> tuple[DistributedModelParallel, CombinedOptimizer]:
    """Shard `model` over the group and attach optimisers; the planner chooses each table's type from `config.sharding`.

    With any type, the trained model does not depend on the number of ranks. The column types (column_wise,
    table_column_wise, grid_shard) split a table into halves, and each half of a row has its own Adagrad statistic:
    another algorithm than with whole rows, but the same for any number of ranks. A data_parallel table has dense
    gradients, so a step costs as much as the whole table; adam and adamw only support this type. Configure a single
    type if a run may be resumed with another number of ranks: the planner's choice among several may change, and the
    statistics of halves and of data_parallel tables are stored differently from those of whole rows.

    Args:
        model: Contains EmbeddingBagCollections on the meta device; built from the same torch seed on every rank.
        group: The joined process group.
        config: Rule, learning rates, sharding types and seed.
    """
    bags = [module for module in model.modules() if isinstance(module, EmbeddingBagCollection)]
    for collection in bags:
        # A fused table without an explicit optimiser would be updated by fbgemm's default SGD.
        if config.rule == "rowwise_adagrad":
            settings = {"lr": config.embedding_lr, "eps": 1e-8}
            apply_optimizer_in_backward(RowWiseAdagrad, collection.parameters(), settings)
        elif config.rule == "sgd":
            apply_optimizer_in_backward(torch.optim.SGD, collection.parameters(), {"lr": config.embedding_lr})
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


def _optimizer(sharded: DistributedModelParallel, config: OptimizerConfig) -> CombinedOptimizer:
    """Combine the fused optimiser of sharded tables with plain ones for dense layers and for data_parallel tables."""
    others = dict(in_backward_optimizer_filter(sharded.named_parameters()))
    copied = {name: weight for name, weight in others.items() if _TABLES in name}
    dense = {name: weight for name, weight in others.items() if name not in copied}
    parts = [sharded.fused_optimizer, KeyedOptimizerWrapper(dense, _plain(config, config.dense_lr, tables=False))]
    if copied:
        parts.append(KeyedOptimizerWrapper(copied, _plain(config, config.embedding_lr, tables=True)))
    return CombinedOptimizer(parts)


def _plain(config: OptimizerConfig, lr: float, tables: bool) -> OptimizerFactory:
    """Return a factory for the optimiser of weights that have dense gradients."""

    def made(weights: list[torch.Tensor | ShardedTensor]) -> torch.optim.Optimizer:
        moved = cast(list[nn.Parameter], weights)
        if config.rule == "rowwise_adagrad" and tables:
            return RowWiseAdagrad(moved, lr=lr, eps=1e-8)
        if config.rule == "sgd":
            return torch.optim.SGD(moved, lr=lr)
        return (torch.optim.AdamW if config.rule == "adamw" else torch.optim.Adam)(moved, lr=lr, fused=True)

    return made


def _hardware(device: torch.device) -> HardwareConfig:
    """Return the memory limits of the planner: this GPU's memory instead of the default of 32 GB."""
    if device.type != "cuda":
        return HardwareConfig()
    return HardwareConfig(hbm_cap_bytes=torch.cuda.get_device_properties(device).total_memory)


def initialise_tables(sharded: DistributedModelParallel, seed: int) -> None:
    """Fill every shard from its table's own random stream; DMP discards the module's initial weights."""
    for name, tensor in sharded.state_dict().items():
        if _TABLES not in name:
            continue
        full = initial_weights(name, tensor.size(), seed)
        if not isinstance(tensor, ShardedTensor):
            tensor.detach().copy_(full)
            continue
        for shard in tensor.local_shards():
            where = tuple(
                slice(start, start + size)
                for start, size in zip(shard.metadata.shard_offsets, shard.metadata.shard_sizes, strict=True)
            )
            shard.tensor.detach().copy_(full[where])


def initial_weights(name: str, size: torch.Size, seed: int) -> torch.Tensor:
    """Return the initial weights of a table of this name and size, float32 [rows, D]."""
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()) + seed)
    return torch.empty(size).normal_(0.0, size[1] ** -0.5 / 4, generator=generator)
