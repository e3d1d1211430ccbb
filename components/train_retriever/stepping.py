"""A retriever's batch as tensors, and the retriever in the form that steps over them can overlap."""

from dataclasses import dataclass

import torch
from torchrec import KeyedJaggedTensor, KeyedTensor

from components.shared.models.retriever import Retriever, RetrieverConfig
from components.shared.training.pipelining import StepBatch, Untraced
from components.train_retriever.losses.objectives import LossOf

Vectors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""User vectors [B, D], item vectors [N, D], item biases [N]."""


@dataclass(frozen=True, kw_only=True)
class TowerBatch(StepBatch):
    """This rank's part of a batch, and everything that goes through the item tower with it.

    Attributes:
        users: features of B rows.
        items: features of N items: the targets, what was drawn, and with an encoder those of the sequences.
        asked: how many of the items the loss reads.
        where: int64, row among the items of each of the sequences' items; None without an encoder.
        content: see Retriever.item_vectors.
        loss: see Drawn. tensors: what it reads beside vectors.
    """

    users: KeyedJaggedTensor
    items: KeyedJaggedTensor
    asked: int
    where: torch.Tensor | None
    content: torch.Tensor | None
    loss: LossOf
    tensors: tuple[torch.Tensor, ...]

    def of(self, vectors: Vectors) -> torch.Tensor:
        """The loss of these vectors: this rank's mean over its tokens."""
        users, items, biases = (part.float() for part in vectors)
        return self.loss(users, items[: self.asked], biases[: self.asked], *self.tensors)


class SteppedRetriever(Retriever):
    """The retriever of a TowerBatch, with the same weights by the same names."""

    def __init__(self, config: RetrieverConfig, device: torch.device):
        super().__init__(config, device)
        self.rest = Untraced(self._rest)

    def forward(self, batch: TowerBatch) -> Vectors:  # pyright: ignore[reportIncompatibleMethodOverride]
        """See Retriever."""
        return self.rest(self.user_bags(batch.users), self.item_bags(batch.items), batch)

    def _rest(self, users: KeyedTensor, items: KeyedTensor, batch: TowerBatch) -> Vectors:
        vectors, biases = self.items_from_pooled(items, batch.content)
        return self.users_from_pooled(users, batch.users, vectors, batch.where), vectors, biases
