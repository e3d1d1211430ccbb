"""TorchRec's own DLRM: the reference for ours on a GPU, one more row on a CPU.

Layers, loss and pipeline are TorchRec's and rows are in memory, as in its examples; tables are sharded as ours.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch
from torch import nn
from torchrec import EmbeddingBagConfig, KeyedJaggedTensor
from torchrec.datasets.utils import Batch
from torchrec.distributed import DistributedModelParallel
from torchrec.distributed.train_pipeline import TrainPipelineBase, TrainPipelineSparseDist
from torchrec.distributed.types import ShardedTensor
from torchrec.models.dlrm import DLRM, DLRMTrain
from torchrec.modules.embedding_modules import EmbeddingBagCollection

from components.shared.training.group import Group
from components.shared.training.optimizer import OptimizerConfig
from components.shared.training.sharding import distribute
from tests.benchmarks.throughput.data import Shape, in_memory
from tests.benchmarks.throughput.dlrm import SEED, DenseParts, first_table, state_name


class ReferenceTraining:
    """A run in one process.

    Args:
        path: File of rows.
        shape: Shape of rows and model.
        batch: Rows per step over all ranks.
        group: The joined process group.
    """

    def __init__(self, path: Path, shape: Shape, batch: int, group: Group):
        self.shape, self.batch, self.group = shape, batch, group
        self.ids, self.numbers, self.label = map(torch.from_numpy, in_memory(path, shape, shape.rows))
        self.model, optimizer = distribute(_model(shape, group.device), group, OptimizerConfig(seed=SEED))
        _same_weights(self.model, shape)
        gpu = group.device.type == "cuda"
        kind = TrainPipelineSparseDist if gpu else TrainPipelineBase
        self.pipeline = kind(self.model, optimizer, group.device)
        self.batches = self._batches()

    def tensors(self, rows: torch.Tensor) -> Batch:
        """Return a batch of these rows, copied from memory."""
        ids = self.ids.index_select(0, rows).T.contiguous().flatten()
        sparse = KeyedJaggedTensor(self.shape.names, ids, lengths=torch.ones(len(ids), dtype=torch.int32))
        return Batch(self.numbers.index_select(0, rows), sparse, self.label.index_select(0, rows))

    def _batches(self) -> Iterator[Batch]:
        part, steps = self.group.share(self.batch), max(1, len(self.ids) // self.batch)
        for epoch in itertools.count():
            order = torch.randperm(len(self.ids), generator=torch.Generator().manual_seed(SEED + epoch))
            for at in range(steps):
                made = self.tensors(order[at * self.batch : (at + 1) * self.batch][part])
                yield made.pin_memory() if self.group.device.type == "cuda" else made

    def loss(self) -> torch.Tensor:
        """Return the mean loss of this rank's part of the first rows; call it before the first step."""
        part = self.group.share(self.batch)
        return self.model(self.tensors(torch.arange(part.start, part.stop)).to(self.group.device))[0]

    def step(self, _: int) -> torch.Tensor:
        """Do one optimiser step on the next batch and return its mean loss."""
        return self.pipeline.progress(self.batches)[0]


def _model(shape: Shape, device: torch.device) -> DLRMTrain:
    tables = [
        EmbeddingBagConfig(name=f"t_{name}", embedding_dim=shape.dim, num_embeddings=shape.table_rows,
                           feature_names=[name])
        for name in shape.names
    ]  # fmt: skip
    bags = EmbeddingBagCollection(tables=tables, device=torch.device("meta"))
    return DLRMTrain(DLRM(bags, shape.dense, [*shape.bottom, shape.dim], [*shape.top, 1], dense_device=device))


@torch.no_grad()
def _same_weights(sharded: DistributedModelParallel, shape: Shape) -> None:
    """Copy the variants' initial weights; TorchRec's interaction has another order: numbers first, then all pairs."""
    model, parts = cast(DLRMTrain, sharded.module).model, DenseParts(shape)
    first = cast(nn.Linear, parts.top[0]).weight
    first.copy_(first[:, _columns(shape)].clone())
    for own, given in ((model.dense_arch, parts.bottom), (model.over_arch, parts.top)):
        stacks = cast(nn.Module, own), given
        layers = ([one for one in stack.modules() if isinstance(one, nn.Linear)] for stack in stacks)
        for mine, wanted in zip(*layers, strict=True):
            mine.load_state_dict(wanted.state_dict())
    state = sharded.state_dict()
    for name in shape.names:
        table = first_table(state_name(name), shape.table_rows, shape.dim)
        held = next(value for key, value in state.items() if key.endswith(f".t_{name}.weight"))
        for shard in held.local_shards() if isinstance(held, ShardedTensor) else ():
            row, column = shard.metadata.shard_offsets
            rows, columns = shard.metadata.shard_sizes
            shard.tensor.copy_(table[row : row + rows, column : column + columns])


def _columns(shape: Shape) -> torch.Tensor:
    """Return the interaction column of DenseParts for each of TorchRec's."""
    vectors = shape.sparse + 1
    at = torch.zeros(vectors, vectors, dtype=torch.int64)
    upper = torch.triu_indices(vectors, vectors, offset=1)
    at[upper[0], upper[1]] = at[upper[1], upper[0]] = torch.arange(upper.shape[1])
    numbers_first = torch.tensor([vectors - 1, *range(vectors - 1)])
    return torch.cat([upper.shape[1] + torch.arange(shape.dim), at[numbers_first[upper[0]], numbers_first[upper[1]]]])
