"""The DLRM with the project's training components: streamed Parquet, TorchRec tables, fused row-wise Adagrad."""

from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.profiler import record_function
from torchrec import EmbeddingBagConfig, KeyedJaggedTensor, KeyedTensor
from torchrec.datasets.utils import Batch
from torchrec.modules.embedding_modules import EmbeddingBagCollection

from components.shared.features.spec import SparseFeature
from components.shared.models.aligned_linear import AlignedLinear
from components.shared.models.interactions import Dot
from components.shared.models.retriever import concat_pooled
from components.shared.training.compute_dtype import autocast
from components.shared.training.group import Group
from components.shared.training.optimizer import ComputeDtype, OptimizerConfig, When
from components.shared.training.pipelining import Losses, Steps, UntracedCall, chosen, compile_dense
from components.shared.training.sharding import distribute
from components.shared.training.stream import ParquetStream, StreamConfig
from tests.benchmarks.throughput.data import Shape
from tests.benchmarks.throughput.dlrm import SEED, DenseParts

INPUT = "shoprank::input"
"""Name in profiles of reading rows and creating tensors."""


class DotDenseParts(DenseParts):
    """The same layers with the production interaction and the linear layers of the production ranker."""

    linear = AlignedLinear

    def __init__(self, shape: Shape):
        super().__init__(shape)
        self.interaction = Dot(shape.sparse + 1, shape.dim, 0)

    def interact(self, embedded_BE: torch.Tensor, bottom_BD: torch.Tensor) -> torch.Tensor:
        """See DenseParts."""
        return self.interaction(embedded_BE, bottom_BD, bottom_BD[:, :0])[0]


class Dlrm(nn.Module):
    """TorchRec embedding bags and the dense parts."""

    def __init__(self, shape: Shape, device: torch.device, precision: ComputeDtype):
        super().__init__()
        self.device = device
        self.precision: ComputeDtype = precision
        self.features = tuple(SparseFeature(name=name, rows=shape.table_rows, max_length=1) for name in shape.names)
        tables = [
            EmbeddingBagConfig(name=f"t_{feature.name}", embedding_dim=shape.dim, num_embeddings=feature.rows,
                               feature_names=[feature.name])
            for feature in self.features
        ]  # fmt: skip
        self.bags = EmbeddingBagCollection(tables=tables, device=torch.device("meta"))
        self.parts = DotDenseParts(shape)
        self.rest = UntracedCall(self._rest)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the mean loss of a batch."""
        return self.rest(self.bags(batch.sparse_features), batch)

    def _rest(self, bags: KeyedTensor, batch: Batch) -> torch.Tensor:
        with autocast(self.precision, self.device):
            logits = self.parts(concat_pooled(bags, self.features), batch.dense_features)
        return binary_cross_entropy_with_logits(logits.float(), batch.labels)


class DlrmTraining:
    """Training in one process, as in the stages' workers; steps overlap on a GPU.

    Args:
        path: File of rows.
        shape: Shape of rows and model.
        batch: Rows per step over all ranks.
        group: The joined process group.
        precision: Precision of the dense layers.
        compiled: Devices on which they are compiled.
    """

    def __init__(
        self, path: Path, shape: Shape, batch: int, group: Group, precision: ComputeDtype = "float32",
        compiled: When = "gpu",
    ):  # fmt: skip
        self.shape, self.group = shape, group
        stream = StreamConfig(batch_size=batch, seed=SEED)
        self.stream = ParquetStream(path, shape.columns, stream, group.share(batch))
        config = OptimizerConfig(seed=SEED, compute_dtype=precision, compile=compiled)
        self.model, self.optimizer = distribute(Dlrm(shape, group.device, precision), group, config)
        compile_dense(cast(Dlrm, self.model.module).parts, group.device, compiled)
        overlap = chosen(config.overlap, group.device)
        self.steps: Steps[Batch, Batch] = Steps(self.model, self.optimizer, self, group.device, overlap)

    def tensors(self, table: pa.Table) -> Batch:
        """Return rows as ids, numbers and labels; ids are concatenated by column, as in a KeyedJaggedTensor."""
        columns = [column.chunk(0).to_numpy() for column in table.columns]
        count = self.shape.sparse
        ids = KeyedJaggedTensor(
            self.shape.names, torch.from_numpy(np.concatenate(columns[:count])),
            lengths=torch.ones(len(table) * count, dtype=torch.int32),
        )  # fmt: skip
        numbers, label = np.stack(columns[count:-1], 1), np.array(columns[-1])
        return Batch(torch.from_numpy(numbers), ids, torch.from_numpy(label))

    def steps_per_epoch(self) -> int:
        """Return the number of steps per epoch."""
        return self.stream.steps_per_epoch

    def read(self, epoch: int, at: int) -> Batch:
        """See Batches."""
        with record_function(INPUT):
            return self.tensors(self.stream.batch(epoch, at))

    def made(self, read: Batch) -> Batch:
        """See Batches."""
        return read

    def losses(self, batch: Batch) -> Losses:
        """See Batches."""
        loss = self.model(batch)
        return loss, loss.detach()

    def loss(self, table: pa.Table) -> torch.Tensor:
        """Return the mean loss of rows; call it before the first step, because the pipeline changes the model."""
        return self.model(self.tensors(table).to(self.group.device))

    def step(self, number: int) -> torch.Tensor:
        """Do the optimiser step of this number and return its mean loss."""
        return self.steps.step(*divmod(number, self.stream.steps_per_epoch))
