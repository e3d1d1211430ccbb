"""DLRM-style multi-task ranker: embeddings and dense features interact by dot products, one head a task.

    dense [P, F] -- MLP -------------------.
    user ids [S] -- bags -- rows of pairs --+-- dot products -- MLP -- heads: 'again', 'first'
    item ids [P] -- bags -------------------'

Source: Naumov et al., Deep Learning Recommendation Model for Personalization and Recommendation Systems (2019).
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torchrec import KeyedJaggedTensor

from components.shared.feature_spec import FeatureSpec, SparseFeature
from components.shared.models.retriever import embedding_bags, in_order
from components.shared.storage import read_json, write_json


@dataclass(frozen=True, kw_only=True)
class RankerConfig:
    """Shape of the ranker and the normalisation of its dense inputs."""

    user_features: tuple[SparseFeature, ...]
    """Sparse inputs of the shopper."""
    item_features: tuple[SparseFeature, ...]
    """Sparse inputs of the item."""
    tasks: tuple[str, ...]
    """Names of the heads: the target event again, and for the first time."""
    dense_mean: tuple[float, ...]
    """Mean of every dense input over the training pairs."""
    dense_std: tuple[float, ...]
    """Standard deviation of every dense input over the training pairs."""
    embedding_dim: int
    """Width of embedding rows."""
    hidden_dim: int
    """Width of the hidden layers."""

    def write(self, path: Path) -> None:
        """Write as JSON."""
        write_json(path, dataclasses.asdict(self))

    @classmethod
    def read(cls, path: Path) -> "RankerConfig":
        """Read from JSON."""
        raw = read_json(path)
        for side in ("user_features", "item_features"):
            raw[side] = tuple(SparseFeature(**feature) for feature in raw[side])
        for name in ("tasks", "dense_mean", "dense_std"):
            raw[name] = tuple(raw[name])
        return cls(**raw)


def ranker_tasks(spec: FeatureSpec) -> tuple[str, str]:
    """The heads that the data allows: the target event again, and for the first time."""
    return f"{spec.target_event}_again", f"{spec.target_event}_first"


class RankerHead(nn.Module):
    """All of the ranker behind the embedding tables; the exported graph uses it as it is."""

    dense_mean: torch.Tensor
    dense_std: torch.Tensor
    upper: torch.Tensor

    def __init__(self, config: RankerConfig):
        super().__init__()
        dim, hidden = config.embedding_dim, config.hidden_dim
        vectors = len(config.user_features) + len(config.item_features) + 1
        dense = len(config.dense_mean)
        self.dim = dim
        self.bottom = nn.Sequential(nn.Linear(dense, hidden), nn.ReLU(), nn.Linear(hidden, dim))
        interactions = vectors * (vectors - 1) // 2
        self.top = nn.Sequential(
            nn.Linear(interactions + dim + dense, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, len(config.tasks)),
        )  # fmt: skip
        self.register_buffer("dense_mean", torch.tensor(config.dense_mean))
        self.register_buffer("dense_std", torch.tensor(config.dense_std))
        pairs = torch.triu_indices(vectors, vectors, offset=1)
        self.register_buffer("upper", pairs[0] * vectors + pairs[1], persistent=False)

    def forward(self, user_PE: torch.Tensor, item_PE: torch.Tensor, dense_PF: torch.Tensor) -> torch.Tensor:
        """Logits [P, tasks] from the pairs' user and item embeddings side by side and their dense features."""
        scaled = ((dense_PF - self.dense_mean) / self.dense_std).clamp(-5.0, 5.0)
        bottom = self.bottom(scaled)
        stacked = torch.cat([user_PE, item_PE, bottom], 1).reshape(bottom.shape[0], -1, self.dim)
        products = torch.bmm(stacked, stacked.transpose(1, 2)).flatten(1)
        return self.top(torch.cat([products.index_select(1, self.upper), bottom, scaled], 1))


class Ranker(nn.Module):
    """The head over TorchRec embedding bags."""

    def __init__(self, config: RankerConfig, device: torch.device):
        super().__init__()
        self.config = config
        self.user_bags = embedding_bags(config.user_features, config.embedding_dim, device)
        self.item_bags = embedding_bags(config.item_features, config.embedding_dim, device)
        self.head = RankerHead(config)

    def forward(
        self, users: KeyedJaggedTensor, items: KeyedJaggedTensor, row: torch.Tensor, dense: torch.Tensor
    ) -> torch.Tensor:
        """Logits [P, tasks].

        Args:
            users: Features of S shoppers.
            items: Features of the P pairs' items.
            row: int64 [P], the shopper of each pair.
            dense: float32 [P, dense inputs].
        """
        user_SE = in_order(self.user_bags(users), self.config.user_features)
        item_PE = in_order(self.item_bags(items), self.config.item_features)
        return self.head(user_SE.index_select(0, row), item_PE, dense)
