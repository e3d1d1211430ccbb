"""A ranker's batch as tensors, and a ranker whose steps over such batches can overlap."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torchrec import KeyedJaggedTensor, KeyedTensor

from components.shared.features.catalog import Catalog
from components.shared.features.ragged import Ragged
from components.shared.models.batch import keyed_jagged
from components.shared.models.ranker import Ranker, RankerConfig
from components.shared.training.pipelining import StepBatch, UntracedCall
from components.train_ranker.examples import PairRows


@dataclass(frozen=True, kw_only=True)
class PairBatch(StepBatch):
    """This rank's shoppers of a batch with all their pairs.

    Attributes:
        shoppers: S, number of shoppers.
        users: features of the shoppers. items: features of the P pairs' items.
        row: int64 [P], the shopper of each pair.
        dense: float32 [P, dense inputs].
        position: int64 [P], see shown.py.
        label: float32 [P], 1 if the item was wanted, else 0; in between for soft labels.
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
        """Convert pairs to tensors on the CPU; shoppers in `dropped`, bool [S], get the unknown id."""
        features = dict(pairs.features)
        if dropped is not None:
            features["user"] = Ragged.ones(np.where(dropped, 0, features["user"].values))
        items = {name: ragged.take(pairs.item) for name, ragged in catalog.features.items()}
        return cls(
            shoppers=len(pairs), users=keyed_jagged(features, config.user_features),
            items=keyed_jagged(items, config.item_features), row=torch.from_numpy(pairs.row),
            dense=torch.tensor(pairs.dense),  # a copy, because streamed arrays are read-only
            position=torch.from_numpy(pairs.position), label=torch.from_numpy(pairs.label),
        )  # fmt: skip


class PipelinedRanker(Ranker):
    """Ranker whose forward takes a PairBatch; its weights and their names are those of Ranker."""

    def __init__(self, config: RankerConfig, device: torch.device):
        super().__init__(config, device)
        self.rest = UntracedCall(self._rest)

    def forward(self, batch: PairBatch) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """See Ranker."""
        return self.rest(self.user_bags(batch.users), self.item_bags(batch.items), batch)

    def _rest(self, users: KeyedTensor, items: KeyedTensor, batch: PairBatch) -> torch.Tensor:
        return self.from_pooled((users, items), batch.users, batch.items, batch.row, batch.dense, batch.position)
