"""Multi-task ranker: embeddings and dense features interact, then task heads compute the logits.

    dense [P, F] -- MLP -----------------------------.
    user ids [S] -- bags -- rows of pairs ------------+-- interaction -- heads: 'again', 'first'
    item ids [P] -- bags -----------------------------|
    sequence [S] and item [P] -- target attention ----'   (optional)

By default a DLRM with a shared bottom; ranker_options.py names the source of every choice.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torchrec import KeyedJaggedTensor, KeyedTensor

from components.shared.features.columns import Task
from components.shared.features.spec import FeatureSpec, SparseFeature
from components.shared.models.aligned_linear import AlignedLinear
from components.shared.models.examination import Examination
from components.shared.models.interactions import interaction
from components.shared.models.ranker_options import RankerArchitecture
from components.shared.models.retriever import concat_pooled, embedding_bags
from components.shared.models.target_attention import TargetAttention
from components.shared.models.task_heads import task_heads
from components.shared.storage import read_json, write_json


@dataclass(frozen=True, kw_only=True)
class RankerConfig:
    """Shape of the ranker and the normalisation of its dense inputs."""

    user_features: tuple[SparseFeature, ...]
    """Sparse inputs of the shopper."""
    item_features: tuple[SparseFeature, ...]
    """Sparse inputs of the item."""
    tasks: tuple[str, ...]
    """Names of the heads: the target event repeated ('again'), and for the first time ('first')."""
    dense_mean: tuple[float, ...]
    """Mean of every dense input over the training pairs."""
    dense_std: tuple[float, ...]
    """Standard deviation of every dense input over the training pairs."""
    embedding_dim: int
    """Width of embedding rows."""
    hidden_dim: int
    """Width of the hidden layers."""
    architecture: RankerArchitecture = dataclasses.field(default_factory=RankerArchitecture)
    """Layers after the embeddings."""

    def write(self, path: Path) -> None:
        """Write as JSON."""
        write_json(path, {**dataclasses.asdict(self), "architecture": self.architecture.to_json()})

    @classmethod
    def read(cls, path: Path) -> "RankerConfig":
        """Read from JSON."""
        raw = read_json(path)
        for side in ("user_features", "item_features"):
            raw[side] = tuple(SparseFeature(**feature) for feature in raw[side])
        for name in ("tasks", "dense_mean", "dense_std"):
            raw[name] = tuple(raw[name])
        return cls(**{**raw, "architecture": RankerArchitecture.read(raw.get("architecture", {}), "architecture")})

    @property
    def behaviour(self) -> SparseFeature | None:
        """Embedding table of the target attention, for items of a sequence; None without attention."""
        if self.architecture.attention is None:
            return None
        sequence = next(feature for feature in self.user_features if feature.name == SEQUENCE)
        return SparseFeature(name="behaviour", rows=sequence.rows, max_length=1)


SEQUENCE = "sequence"
"""The user feature that target attention reads."""
ITEM = "item"
"""The item feature that target attention compares with the sequence."""


def ranker_tasks(spec: FeatureSpec) -> tuple[str, ...]:
    """Return the names of the heads: the target event repeated ('again'), and for the first time ('first')."""
    return tuple(f"{spec.target_event}_{task.label}" for task in Task)


class RankerHead(nn.Module):
    """All layers of the ranker after the embedding tables; the exported graph uses them unchanged."""

    dense_mean: torch.Tensor
    dense_std: torch.Tensor

    def __init__(self, config: RankerConfig):
        super().__init__()
        dim, hidden, shape = config.embedding_dim, config.hidden_dim, config.architecture
        attended = shape.attention is not None
        vectors = len(config.user_features) + len(config.item_features) + 1 + attended
        dense = len(config.dense_mean)
        self.bottom = nn.Sequential(AlignedLinear(dense, hidden), nn.ReLU(), nn.Linear(hidden, dim))
        self.interaction = interaction(shape.interaction, vectors, dim, dense)
        self.heads = task_heads(shape.heads, self.interaction.width, hidden, len(config.tasks))
        self.attention = TargetAttention(shape.attention, dim) if shape.attention is not None else None
        self.register_buffer("dense_mean", torch.tensor(config.dense_mean))
        self.register_buffer("dense_std", torch.tensor(config.dense_std))

    def forward(self, embeddings_PE: torch.Tensor, dense_PF: torch.Tensor) -> torch.Tensor:
        """Return logits [P, tasks] of pairs from concatenated embeddings (user, item, attended) and dense inputs."""
        scaled = ((dense_PF - self.dense_mean) / self.dense_std).clamp(-5.0, 5.0)
        bottom = self.bottom(scaled)
        features, shallow = self.interaction(embeddings_PE, bottom, scaled)
        logits = self.heads(features)
        return logits if shallow is None else logits + shallow


class Ranker(nn.Module):
    """TorchRec embedding bags followed by the head."""

    def __init__(self, config: RankerConfig, device: torch.device):
        super().__init__()
        self.config = config
        self.user_bags = embedding_bags(config.user_features, config.embedding_dim, device)
        self.item_bags = embedding_bags(config.item_features, config.embedding_dim, device)
        behaviour = config.behaviour
        self.behaviour_bags = embedding_bags((behaviour,), config.embedding_dim, device) if behaviour else None
        self.head = RankerHead(config)
        self.examination = Examination(config.architecture.positions) if config.architecture.positions else None

    def forward(
        self, users: KeyedJaggedTensor, items: KeyedJaggedTensor, row: torch.Tensor, dense: torch.Tensor,
        position: torch.Tensor | None = None,
    ) -> torch.Tensor:  # fmt: skip
        """Return logits [P, tasks]; in training with positions, with log P(examined) as an additional column.

        Args:
            users: Features of S shoppers.
            items: Features of the P pairs' items.
            row: int64 [P], the shopper of each pair.
            dense: float32 [P, dense inputs].
            position: int64 [P], position of the item in the response (or UNKNOWN, NOT_SHOWN); None when scoring.
        """
        return self.from_pooled((self.user_bags(users), self.item_bags(items)), users, items, row, dense, position)

    def from_pooled(
        self, pooled: tuple[KeyedTensor, KeyedTensor], users: KeyedJaggedTensor, items: KeyedJaggedTensor,
        row: torch.Tensor, dense: torch.Tensor, position: torch.Tensor | None,
    ) -> torch.Tensor:  # fmt: skip
        """Like `forward`, from pooled embeddings of shoppers and items, which training looks up in advance."""
        user_SE = concat_pooled(pooled[0], self.config.user_features)
        item_PE = concat_pooled(pooled[1], self.config.item_features)
        parts = [user_SE.index_select(0, row), item_PE]
        if self.behaviour_bags is not None:
            parts.append(self._attended(users, items, row))
        logits = self.head(torch.cat(parts, 1), dense)
        if self.examination is None or position is None:
            return logits
        return torch.cat([logits, self.examination(position).unsqueeze(1)], 1)

    def _attended(self, users: KeyedJaggedTensor, items: KeyedJaggedTensor, row: torch.Tensor) -> torch.Tensor:
        """Return the sequence attended by each item, [P, D]; tokens and targets share one lookup, as single-id bags."""
        assert self.behaviour_bags is not None and self.head.attention is not None
        sequence, target = users[SEQUENCE], items[ITEM]
        ids = torch.cat([sequence.values(), target.values()])
        ones = torch.ones(len(ids), device=ids.device)
        found = self.behaviour_bags(KeyedJaggedTensor(["behaviour"], ids, ones, torch.ones_like(ids)))["behaviour"]
        tokens, targets = found.split([len(sequence.values()), len(target.values())])
        longest = int(sequence.lengths().max()) if len(tokens) else 1
        weighted = torch.cat([tokens, sequence.weights().unsqueeze(1)], 1)
        padded = torch.ops.fbgemm.jagged_to_padded_dense(weighted, [sequence.offsets()], [max(longest, 1)], 0.0)
        return self.head.attention(padded[..., :-1], padded[..., -1], targets, row)
