"""A ranker's batch as tensors, and the ranker in the form that steps over them can overlap."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torchrec import KeyedJaggedTensor, KeyedTensor

from components.shared.features.catalog import Catalog
from components.shared.features.ragged import Ragged
from components.shared.models.batch import keyed_jagged
from components.shared.models.ranker import Ranker, RankerConfig
from components.shared.training.pipelining import StepBatch, Untraced
from components.train_ranker.examples import PairRows


@dataclass(frozen=True, kw_only=True)
class PairBatch(StepBatch):
    """This rank's shoppers of a batch with all their pairs.

    Attributes:
        shoppers: S, how many.
        users: features of the shoppers. items: of the P pairs' items.
        row: int64 [P], the shopper of each pair.
        dense: float32 [P, dense inputs].
        position: int64 [P], see shown.py.
        label: float32 [P], whether the item was wanted.
    """

    shoppers: int
    users: KeyedJaggedTensor
    items: KeyedJaggedTensor
    row: torch.Tensor
    dense: torch.Tensor
    position: torch.Tensor
    label: torch.Tensor

    @classmethod
    def of(cls, pairs: PairRows, catalog: Catalog, config: RankerConfig, dropped: np.ndarray | None = None) -> Self:
        """Pairs as tensors on the CPU; `dropped`, bool [S]: whose id becomes the unknown one."""
        features = dict(pairs.features)
        if dropped is not None:
            features["user"] = Ragged.ones(np.where(dropped, 0, features["user"].values))
        items = {name: ragged.take(pairs.item) for name, ragged in catalog.features.items()}
        return cls(
            shoppers=len(pairs), users=keyed_jagged(features, config.user_features),
            items=keyed_jagged(items, config.item_features), row=torch.from_numpy(pairs.row),
            dense=torch.tensor(pairs.dense),  # a copy, for streamed ones cannot be written to
            position=torch.from_numpy(pairs.position), label=torch.from_numpy(pairs.label),
        )  # fmt: skip


class SteppedRanker(Ranker):
    """The ranker of a PairBatch, with the same weights by the same names."""

    def __init__(self, config: RankerConfig, device: torch.device):
        super().__init__(config, device)
        self.rest = Untraced(self._rest)

    def forward(self, batch: PairBatch) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """See Ranker."""
        return self.rest(self.user_bags(batch.users), self.item_bags(batch.items), batch)

    def _rest(self, users: KeyedTensor, items: KeyedTensor, batch: PairBatch) -> torch.Tensor:
        return self.from_pooled((users, items), batch.users, batch.items, batch.row, batch.dense, batch.position)
