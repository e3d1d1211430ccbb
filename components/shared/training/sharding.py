"""TorchRec wiring: sharded embedding tables with a fused optimiser, dense parts with Adam.

Initial weights depend on table names and the seed alone, never on how many ranks hold the tables, so that one and
many processes train the same model.
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
from torchrec.optim.keyed import CombinedOptimizer, KeyedOptimizerWrapper
from torchrec.optim.optimizers import in_backward_optimizer_filter

from components.shared.training.group import Group
from components.shared.training.optimizer import OptimizerConfig


def distribute(
    model: nn.Module, group: Group, config: OptimizerConfig
) -> tuple[DistributedModelParallel, CombinedOptimizer]:
    """Shard `model` table-wise over the group and attach its optimisers.

    Args:
        model: Holds EmbeddingBagCollections on the meta device; built from the same torch seed on every rank.
        group: The joined process group.
        config: Learning rates and seed.
    """
    bags = [module for module in model.modules() if isinstance(module, EmbeddingBagCollection)]
    for collection in bags:
        # A fused table without an optimiser of ours would be moved by fbgemm's default SGD.
        apply_optimizer_in_backward(RowWiseAdagrad, collection.parameters(), {"lr": config.embedding_lr, "eps": 1e-8})
    tables = [table.name for collection in bags for table in collection.embedding_bag_configs()]
    topology = TopologyFactory.create_topology(
        TrainerConfig(world_size=group.world, local_world_size=group.local_world),
        _hardware(group.device),
        KernelConfig(compute_device=group.device.type),
    )
    constraints = {
        name: ParameterConstraints(sharding_types=["table_wise"], compute_kernels=["fused"]) for name in tables
    }
    planner = EmbeddingShardingPlanner(
        topology=topology, constraints=constraints, storage_reservation=FixedPercentageStorageReservation(0.05)
    )
    sharders = [cast(ModuleSharder[nn.Module], EmbeddingBagCollectionSharder())]
    plan = planner.collective_plan(model, sharders, dist.group.WORLD)
    sharded = DistributedModelParallel(model, device=group.device, plan=plan, sharders=sharders)
    initialise_tables(sharded, config.seed)
    dense = dict(in_backward_optimizer_filter(sharded.named_parameters()))
    optimizer = CombinedOptimizer(
        [
            sharded.fused_optimizer,
            KeyedOptimizerWrapper(dense, lambda weights: torch.optim.Adam(weights, lr=config.dense_lr, fused=True)),
        ]
    )
    return sharded, optimizer


def _hardware(device: torch.device) -> HardwareConfig:
    """What the planner may fill: this GPU's memory, where it would else assume 32 GB."""
    if device.type != "cuda":
        return HardwareConfig()
    return HardwareConfig(hbm_cap_bytes=torch.cuda.get_device_properties(device).total_memory)


def initialise_tables(sharded: DistributedModelParallel, seed: int) -> None:
    """Fill every shard from its table's own random stream; DMP throws the module's initial weights away."""
    for name, tensor in sharded.state_dict().items():
        if not isinstance(tensor, ShardedTensor):
            continue
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()) + seed)
        full = torch.empty(tensor.size()).normal_(0.0, tensor.size()[1] ** -0.5 / 4, generator=generator)
        for shard in tensor.local_shards():
            where = tuple(
                slice(start, start + size)
                for start, size in zip(shard.metadata.shard_offsets, shard.metadata.shard_sizes, strict=True)
            )
            shard.tensor.detach().copy_(full[where])
