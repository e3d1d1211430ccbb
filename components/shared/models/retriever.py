"""Two towers: score(user, item) = user_vector . item_vector + item_bias.

    user ids ---- EmbeddingBagCollection -- concat -- MLP + linear -- user_vector [B, D]
    sequence ---- vectors of its items ---- encoder ---'  (optional)
    item ids ---- EmbeddingBagCollection -- concat -- MLP + linear -- item_vector [N, D], item_bias [N]
    content ----- linear ---------------------'  (if items have content vectors)

The encoder's tokens are the vectors of the item tower. So both sides are tied, and attributes and titles describe the
history as well as the candidates.

Source: Yi et al., Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations (RecSys 2019).
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import nn
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor, KeyedTensor, PoolingType

from components.shared.errors import InputError
from components.shared.features.spec import FeatureSpec, SparseFeature
from components.shared.models.encoders.config import EncoderConfig, check_heads, max_length
from components.shared.models.encoders.encoder import SequenceEncoder
from components.shared.options import KIND, Options
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
    encoder: EncoderConfig | None = None
    """Encoder that reads the behaviour sequence in order; None: a weighted sum."""
    content_dim: int = 0
    """Width of the items' content vectors; 0: none."""

    @classmethod
    def from_spec(
        cls, spec: FeatureSpec, embedding_dim: int, hidden_dim: int, encoder: EncoderConfig | None = None
    ) -> "RetrieverConfig":
        """Return the shape of the towers for a feature spec.

        Raises:
            InputError: the encoder's `max_length` is too small for the spec's sequences, its heads do not divide the
                width, or the spec's items share hash rows.
        """
        longest = spec.user(SEQUENCE).max_length
        if encoder is not None and spec.item_hash_rows:
            raise InputError(
                f"encoder: the features were built with item_hash_rows {spec.item_hash_rows}, but an encoder reads "
                "items by their catalog rows",
                "build the features with item_hash_rows 0, or train without an encoder",
            )
        if encoder is not None:
            check_heads(encoder, embedding_dim)
        limit = max_length(encoder) if encoder is not None else None
        if limit is not None and limit < longest:
            raise InputError(
                f"encoder: max_length is {limit}, but sequences have up to {longest} items",
                f"set max_length to {longest} or more",
            )
        return cls(user_features=spec.user_features, item_features=spec.item_features, embedding_dim=embedding_dim,
                   hidden_dim=hidden_dim, encoder=encoder, content_dim=spec.content_dim)  # fmt: skip

    def write(self, path: Path) -> None:
        """Write as JSON."""
        write_json(path, {**dataclasses.asdict(self), "encoder": encoder_to_json(self.encoder)})

    @classmethod
    def read(cls, path: Path) -> "RetrieverConfig":
        """Read from JSON."""
        raw = read_json(path)
        for side in ("user_features", "item_features"):
            raw[side] = tuple(SparseFeature(**feature) for feature in raw[side])
        return cls(**{**raw, "encoder": encoder_from_json(raw.get("encoder"))})


SEQUENCE = "sequence"
"""The user feature that encoders read: the shopper's items, newest first."""


class _Encoder(Options):
    """Wrapper that parses an encoder by its kind."""

    encoder: Annotated[EncoderConfig, KIND]
    """Options of the encoder."""


def encoder_to_json(encoder: EncoderConfig | None) -> dict[str, Any] | None:
    """Return the options of an encoder as JSON values."""
    return None if encoder is None else encoder.to_json()


def encoder_from_json(raw: dict[str, Any] | None) -> EncoderConfig | None:
    """Return the options from the output of `encoder_to_json`.

    Raises:
        InputError: the kind or a field is unknown, or a value is invalid.
    """
    return _Encoder.read({"encoder": raw}, "").encoder if raw else None


def embedding_bags(features: tuple[SparseFeature, ...], dim: int, device: torch.device) -> EmbeddingBagCollection:
    """Create one table per feature; its rows are summed with the weights of the ids."""
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


def concat_pooled(pooled: KeyedTensor, features: tuple[SparseFeature, ...]) -> torch.Tensor:
    """Concatenate pooled embeddings in the spec's order, [B, features * D].

    `KeyedTensor.values()` follows the sharding plan, so a model that used it would change with the number of ranks.
    If that is already the spec's order, as in one process, nothing is copied.
    """
    wanted = [feature.name for feature in features]
    return pooled.values() if pooled.keys() == wanted else KeyedTensor.regroup([pooled], [wanted])[0]


def append_content(pooled: torch.Tensor, linear: nn.Linear | None, content: torch.Tensor | None) -> torch.Tensor:
    """Return the input of the item tower: pooled embeddings [N, features * D], followed by the projected content.

    Args:
        pooled: Pooled embeddings of N items.
        linear: The projection; None: the tower reads no content.
        content: float32 [N, content_dim + 1].
    """
    if linear is None:
        return pooled
    assert content is not None, "this item tower reads content vectors"
    return torch.cat([pooled, linear(content)], 1)


class Tower(nn.Module):
    """Maps concatenated embeddings to a vector: a hidden layer plus a direct linear path."""

    def __init__(self, inputs: int, hidden: int, outputs: int):
        super().__init__()
        self.deep = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
        self.wide = nn.Linear(inputs, outputs, bias=False)

    def forward(self, x_BI: torch.Tensor) -> torch.Tensor:
        """Map [B, inputs] to [B, outputs]."""
        return self.deep(x_BI) + self.wide(x_BI)


class Retriever(nn.Module):
    """The two towers over TorchRec embedding bags."""

    def __init__(self, config: RetrieverConfig, device: torch.device):
        super().__init__()
        self.config = config
        dim = config.embedding_dim
        self.user_bags = embedding_bags(config.user_features, dim, device)
        self.item_bags = embedding_bags(config.item_features, dim, device)
        inputs = len(config.user_features) + (config.encoder is not None)
        self.user_tower = Tower(inputs * dim, config.hidden_dim, dim)
        self.item_tower = Tower(
            (len(config.item_features) + bool(config.content_dim)) * dim, config.hidden_dim, dim + 1
        )
        self.encoder = SequenceEncoder(config.encoder, dim) if config.encoder is not None else None
        self.content = nn.Linear(config.content_dim + 1, dim) if config.content_dim else None

    def user_vectors(
        self, users: KeyedJaggedTensor, vectors_ID: torch.Tensor | None = None, at: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return user vectors, float32 [B, D].

        Args:
            users: Features of B rows.
            vectors_ID: Item vectors, to look up the sequence's items; not used without an encoder.
            at: int64, row in `vectors_ID` of each item of the sequences; None: the ids are the rows.
        """
        return self.users_from_pooled(self.user_bags(users), users, vectors_ID, at)

    def users_from_pooled(
        self, bags: KeyedTensor, users: KeyedJaggedTensor, vectors_ID: torch.Tensor | None, at: torch.Tensor | None
    ) -> torch.Tensor:
        """Like `user_vectors`, from pooled embeddings, which training looks up in advance."""
        pooled = concat_pooled(bags, self.config.user_features)
        if self.encoder is None:
            return self.user_tower(pooled)
        assert vectors_ID is not None, "an encoder reads item vectors"
        sequence = users[SEQUENCE]
        rows = sequence.values() if at is None else at
        index, offsets = oldest_first(sequence.weights() > 0, sequence.lengths())
        tokens = F.embedding(rows.index_select(0, index), vectors_ID)
        # An additional unused row, so that no layer has empty input even if all histories of a rank are empty.
        tokens = torch.cat([tokens, torch.zeros_like(vectors_ID[:1])])
        offsets = torch.cat([offsets, offsets[-1:] + 1])
        return self.user_tower(torch.cat([pooled, self.encoder.last(tokens, offsets)[:-1]], 1))

    def item_vectors(
        self, items: KeyedJaggedTensor, content: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return item vectors, float32 [N, D], and biases, float32 [N].

        Args:
            items: Features of N items.
            content: float32 [N, content_dim + 1], see content.ContentVectors.inputs; None: the tower reads no content.
        """
        return self.items_from_pooled(self.item_bags(items), content)

    def items_from_pooled(self, bags: KeyedTensor, content: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Like `item_vectors`, from pooled embeddings, which training looks up in advance."""
        pooled = concat_pooled(bags, self.config.item_features)
        out = self.item_tower(append_content(pooled, self.content, content))
        return out[:, :-1], out[:, -1]

    def forward(
        self, users: KeyedJaggedTensor, items: KeyedJaggedTensor, at: torch.Tensor | None = None,
        content: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
        """Return user vectors [B, D], item vectors [N, D] and item biases [N].

        Args:
            users: Features of B rows.
            items: Features of N items; with an encoder, including those of the sequences.
            at: int64, row among the N items of each item of the sequences.
            content: See item_vectors.
        """
        vectors, biases = self.item_vectors(items, content)
        return self.user_vectors(users, vectors, at), vectors, biases


def oldest_first(kept_N: torch.Tensor, lengths_B: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Reverse jagged rows and drop the tokens that are not kept.

    Args:
        kept_N: bool, tokens to keep (not padding).
        lengths_B: int64, tokens of each row.

    Returns:
        int64, positions of the kept tokens, each row in reverse; and offsets of the rows, int64 [B + 1].
    """
    row = torch.repeat_interleave(torch.arange(len(lengths_B), device=lengths_B.device), lengths_B)
    ends = lengths_B.cumsum(0)
    position = torch.arange(len(row), device=row.device)
    reverse = ends.index_select(0, row) - 1 - (position - (ends - lengths_B).index_select(0, row))
    kept = kept_N.index_select(0, reverse)
    counts = torch.zeros_like(lengths_B).index_add(0, row, kept.to(lengths_B.dtype))
    return reverse[kept], F.pad(counts.cumsum(0), (1, 0)).long()
