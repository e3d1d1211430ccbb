"""Two towers: score(user, item) = user_vector . item_vector + item_bias.

    user ids ---- EmbeddingBagCollection -- concat -- MLP + linear -- user_vector [B, D]
    item ids ---- EmbeddingBagCollection -- concat -- MLP + linear -- item_vector [N, D], item_bias [N]

Source: Yi et al., Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations (RecSys 2019).
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor, KeyedTensor, PoolingType

from components.shared.feature_spec import FeatureSpec, SparseFeature
from components.shared.storage import read_json, write_json


@dataclass(frozen=True, kw_only=True)
class RetrieverConfig:
    """Shape of the two towers."""

    user_features: tuple[SparseFeature, ...]
    """Inputs of the user tower."""
    item_features: tuple[SparseFeature, ...]
    """Inputs of the item tower."""
    embedding_dim: int
    """Width of embedding rows and of both vectors."""
    hidden_dim: int
    """Width of the towers' hidden layer."""

    @classmethod
    def from_spec(cls, spec: FeatureSpec, embedding_dim: int, hidden_dim: int) -> "RetrieverConfig":
        """The towers that fit a feature spec."""
        return cls(user_features=spec.user_features, item_features=spec.item_features,
                   embedding_dim=embedding_dim, hidden_dim=hidden_dim)  # fmt: skip

    def write(self, path: Path) -> None:
        """Write as JSON."""
        write_json(path, dataclasses.asdict(self))

    @classmethod
    def read(cls, path: Path) -> "RetrieverConfig":
        """Read from JSON."""
        raw = read_json(path)
        for side in ("user_features", "item_features"):
            raw[side] = tuple(SparseFeature(**feature) for feature in raw[side])
        return cls(**raw)


def embedding_bags(features: tuple[SparseFeature, ...], dim: int, device: torch.device) -> EmbeddingBagCollection:
    """One table a feature, summed with the weights that come with the ids."""
    return EmbeddingBagCollection(
        tables=[
            EmbeddingBagConfig(
                name=f"t_{feature.name}", embedding_dim=dim, num_embeddings=feature.rows,
                feature_names=[feature.name], pooling=PoolingType.SUM,
            )
            for feature in features
        ],
        is_weighted=True,
        device=device,
    )  # fmt: skip


def in_order(pooled: KeyedTensor, features: tuple[SparseFeature, ...]) -> torch.Tensor:
    """Pooled embeddings side by side in the spec's order, [B, features * D].

    `KeyedTensor.values()` follows the sharding plan, so a model that used it would change with the number of ranks.
    """
    return KeyedTensor.regroup([pooled], [[feature.name for feature in features]])[0]


class Tower(nn.Module):
    """Concatenated embeddings to a vector: a hidden layer plus a straight linear path."""

    def __init__(self, inputs: int, hidden: int, outputs: int):
        super().__init__()
        self.deep = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
        self.wide = nn.Linear(inputs, outputs, bias=False)

    def forward(self, x_BI: torch.Tensor) -> torch.Tensor:
        """[B, inputs] to [B, outputs]."""
        return self.deep(x_BI) + self.wide(x_BI)


class Retriever(nn.Module):
    """The two towers over TorchRec embedding bags."""

    def __init__(self, config: RetrieverConfig, device: torch.device):
        super().__init__()
        self.config = config
        dim = config.embedding_dim
        self.user_bags = embedding_bags(config.user_features, dim, device)
        self.item_bags = embedding_bags(config.item_features, dim, device)
        self.user_tower = Tower(len(config.user_features) * dim, config.hidden_dim, dim)
        self.item_tower = Tower(len(config.item_features) * dim, config.hidden_dim, dim + 1)

    def user_vectors(self, users: KeyedJaggedTensor) -> torch.Tensor:
        """User vectors, float32 [B, D]."""
        return self.user_tower(in_order(self.user_bags(users), self.config.user_features))

    def item_vectors(self, items: KeyedJaggedTensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Item vectors, float32 [N, D], and biases, float32 [N]."""
        out = self.item_tower(in_order(self.item_bags(items), self.config.item_features))
        return out[:, :-1], out[:, -1]

    def forward(
        self, users: KeyedJaggedTensor, items: KeyedJaggedTensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """User vectors [B, D], item vectors [N, D], item biases [N]."""
        return self.user_vectors(users), *self.item_vectors(items)
