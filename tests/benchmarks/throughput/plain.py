"""The same DLRM trained fast with plain torch: all rows in memory, sparse gradients, fused dense Adam."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from components.shared.training.compute_dtype import autocast
from components.shared.training.optimizer import ComputeDtype
from tests.benchmarks.throughput.data import Shape, in_memory
from tests.benchmarks.throughput.dlrm import SEED, BagTables, DenseParts, FlatTable

Optimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


class PlainTraining:
    """Training of the plain DLRM in one process.

    Args:
        path: File of rows.
        tables: Maps ids [B, sparse] to [B, sparse * dim].
        optimizer: Optimiser of the tables; Adam(fused=True) updates the rest.
        shape: Shape of rows and model.
        batch: Rows per step.
        precision: Precision of the dense layers.
    """

    def __init__(
        self, path: Path, tables: nn.Module, optimizer: Optimizer, shape: Shape, batch: int, precision: ComputeDtype
    ):
        self.ids, self.numbers, self.label = map(torch.from_numpy, in_memory(path, shape, shape.rows))
        self.batch = batch
        self.precision: ComputeDtype = precision
        self.tables, self.parts = tables, DenseParts(shape)
        self.optimizers = [
            optimizer(list(tables.parameters())),
            torch.optim.Adam(self.parts.parameters(), lr=1e-3, fused=True),
        ]
        self.random, self.order = torch.Generator().manual_seed(SEED), torch.arange(0)

    def loss(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of these rows, copied from memory."""
        ids, numbers, label = (part.index_select(0, rows) for part in (self.ids, self.numbers, self.label))
        with autocast(self.precision, torch.device("cpu")):
            logits = self.parts(self.tables(ids), numbers)
        return binary_cross_entropy_with_logits(logits.float(), label)

    def step(self, number: int) -> torch.Tensor:
        """Do one optimiser step on the next batch of a shuffled epoch."""
        at = number % max(1, len(self.ids) // self.batch)
        if at == 0 or not len(self.order):
            self.order = torch.randperm(len(self.ids), generator=self.random)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss = self.loss(self.order[at * self.batch : (at + 1) * self.batch])
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        return loss


def bags(path: Path, shape: Shape, batch: int, precision: ComputeDtype) -> PlainTraining:
    """One nn.EmbeddingBag(sparse=True) per feature, SparseAdam."""
    return PlainTraining(path, BagTables(shape), lambda tables: torch.optim.SparseAdam(tables, lr=1e-3), shape, batch,
                         precision)  # fmt: skip


def flat(path: Path, shape: Shape, batch: int, precision: ComputeDtype) -> PlainTraining:
    """One flat sparse table, SparseAdam."""
    return PlainTraining(path, FlatTable(shape, True), lambda tables: torch.optim.SparseAdam(tables, lr=1e-3), shape,
                         batch, precision)  # fmt: skip


def adagrad(path: Path, shape: Shape, batch: int, precision: ComputeDtype) -> PlainTraining:
    """One flat sparse table, Adagrad: the plain optimiser closest to ours."""
    torch.sparse.check_sparse_tensor_invariants.disable()  # the default, without its warning
    return PlainTraining(path, FlatTable(shape, True), lambda tables: torch.optim.Adagrad(tables, lr=0.05), shape,
                         batch, precision)  # fmt: skip


def dense(path: Path, shape: Shape, batch: int, precision: ComputeDtype) -> PlainTraining:
    """One flat table with dense gradients, fused Adam."""
    return PlainTraining(path, FlatTable(shape, False), lambda tables: torch.optim.Adam(tables, lr=1e-3, fused=True),
                         shape, batch, precision)  # fmt: skip
