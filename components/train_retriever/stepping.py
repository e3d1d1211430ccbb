"""A retriever's batch as tensors, and a retriever whose steps over such batches can overlap."""

from dataclasses import dataclass

import torch
from torchrec import KeyedJaggedTensor, KeyedTensor

from components.shared.models.retriever import Retriever, RetrieverConfig
from components.shared.training.pipelining import StepBatch, UntracedCall
from components.train_retriever.losses.objectives import LossOf

Vectors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""User vectors [B, D], item vectors [N, D], item biases [N]."""


@dataclass(frozen=True, kw_only=True)
class TowerBatch(StepBatch):
    """This rank's part of a batch, with all items that go through the item tower.

    Attributes:
        users: features of B rows.
        items: features of N items: the targets, the drawn items and, with an encoder, the items of the sequences.
        scored_items: number of leading items that the loss reads.
        where: int64, row in `items` of each item of the sequences; None without an encoder.
        content: see Retriever.item_vectors.
        loss: see Negatives. tensors: further inputs of the loss.
    """

    users: KeyedJaggedTensor
    items: KeyedJaggedTensor
    scored_items: int
    where: torch.Tensor | None
    content: torch.Tensor | None
    loss: LossOf
    tensors: tuple[torch.Tensor, ...]

    def of(self, vectors: Vectors) -> torch.Tensor:
        """Return the loss of these vectors: the mean over this rank's tokens."""
        users, items, biases = (part.float() for part in vectors)
        return self.loss(users, items[: self.scored_items], biases[: self.scored_items], *self.tensors)


class PipelinedRetriever(Retriever):
    """Retriever whose forward takes a TowerBatch; its weights and their names are those of Retriever."""

    def __init__(self, config: RetrieverConfig, device: torch.device):
        super().__init__(config, device)
        self.rest = UntracedCall(self._rest)

    def forward(self, batch: TowerBatch) -> Vectors:  # pyright: ignore[reportIncompatibleMethodOverride]
        """See Retriever."""
        return self.rest(self.user_bags(batch.users), self.item_bags(batch.items), batch)

    def _rest(self, users: KeyedTensor, items: KeyedTensor, batch: TowerBatch) -> Vectors:
        vectors, biases = self.items_from_pooled(items, batch.content)
        return self.users_from_pooled(users, batch.users, vectors, batch.where), vectors, biases
