"""Training on sequences: our encoders on jagged tokens compared with SASRec in plain torch on padded tokens.

Both read the same histories with skewed lengths, start from the same weights and minimise the same loss with one Adam.
Source: Kang and McAuley, Self-Attentive Sequential Recommendation (ICDM 2018).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from components.shared.features.ragged import Ragged, offsets_of
from components.shared.models.encoders.attention import AttentionEncoder
from components.shared.models.encoders.config import AttentionConfig, EncoderConfig, HstuConfig
from tests.benchmarks.published.item_tower import ItemFeatures, ItemTowerConfig
from tests.benchmarks.published.optimizers import Adam, build_optimizers
from tests.benchmarks.published.sequence_retriever import SequenceRetriever, SequenceRetrieverConfig
from tests.benchmarks.throughput.data import zipf

LONGEST = 50
ATTENTION = AttentionConfig(layers=2, heads=2, hidden_dim=256, max_length=LONGEST, dropout=0.0)
HSTU = HstuConfig(layers=2, heads=2, max_length=LONGEST, dropout=0.0)
NEGATIVES = 512


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """The generated training data."""

    items: int = 20_000
    """Catalog rows."""
    dim: int = 64
    """Width of vectors."""
    batch: int = 256
    """Histories per step."""
    seed: int = 0
    """Seed of histories and negatives."""

    def histories(self, number: int) -> Ragged:
        """Return the histories of one step, with lognormal lengths (median 9) from 2 to LONGEST + 1 items."""
        random = np.random.default_rng([self.seed, number])
        lengths = np.clip(random.lognormal(np.log(9), 0.9, self.batch).astype(np.int64), 1, LONGEST) + 1
        offsets = offsets_of(lengths)
        return Ragged.mean(offsets, 1 + zipf(random.random(offsets[-1]), self.items - 1).astype(np.int64))

    def negatives(self, number: int) -> torch.Tensor:
        """Return the negatives shared by all tokens of a step, int64 [NEGATIVES]."""
        random = np.random.default_rng([self.seed, 1, number])
        return torch.from_numpy(random.integers(1, self.items, NEGATIVES))


def loss_of(users_ND: torch.Tensor, items_ID: torch.Tensor, target_N: torch.Tensor, negatives: torch.Tensor):
    """Return the mean softmax cross-entropy of each token's target among shared negatives."""
    positive = (users_ND * F.embedding(target_N, items_ID)).sum(1, keepdim=True)
    logits = torch.cat([positive, users_ND @ F.embedding(negatives, items_ID).T], 1)
    return F.cross_entropy(logits, torch.zeros_like(target_N))


class JaggedTraining:
    """Our training: linear layers process tokens without padding."""

    def __init__(self, sequences: Sequences, encoder: EncoderConfig):
        torch.manual_seed(sequences.seed)
        tower = ItemTowerConfig(rows=sequences.items, dim=sequences.dim)
        config = SequenceRetrieverConfig(tower=tower, encoder=encoder)
        self.sequences, self.model = sequences, SequenceRetriever(config, ItemFeatures(bags={}))
        self.optimizers = build_optimizers(Adam(lr=1e-3), self.model)

    def loss(self, number: int) -> torch.Tensor:
        """Return the mean loss over all prefixes of the step's histories."""
        rows = self.sequences.histories(number)
        history, target = np.ones(len(rows.values), bool), np.ones(len(rows.values), bool)
        history[rows.offsets[1:] - 1] = False
        target[rows.offsets[:-1]] = False
        offsets = torch.from_numpy(rows.offsets - np.arange(len(rows.offsets)))
        items, _ = self.model.items()
        users = self.model.every_prefix(items, torch.from_numpy(rows.values[history]), offsets)
        return loss_of(users, items, torch.from_numpy(rows.values[target]), self.sequences.negatives(number))

    def step(self, number: int) -> torch.Tensor:
        """Do one optimiser step."""
        return _step(self.loss(number), self.optimizers)


class PaddedBlock(nn.Module):
    """Pre-normalised self-attention and feed-forward over [B, L, D]."""

    def __init__(self, dim: int, heads: int, hidden: int):
        super().__init__()
        self.heads = heads
        self.norm, self.feed_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.inputs, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.hidden, self.feed_out = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the same shape; padding is at the end, where the causal mask hides it from all real tokens."""
        parts = self.inputs(self.norm(tokens)).chunk(3, -1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        tokens = tokens + self.out(mixed.transpose(1, 2).flatten(2))
        return tokens + self.feed_out(F.gelu(self.hidden(self.feed_norm(tokens))))


class PaddedSasrec(nn.Module):
    """SASRec in plain torch, with one matrix for query, key and value; its weights are those of our encoder."""

    def __init__(self, items: torch.Tensor, encoder: AttentionEncoder, config: AttentionConfig):
        super().__init__()
        dim = items.shape[1]
        self.items = nn.Embedding.from_pretrained(items.clone(), freeze=False, padding_idx=0)
        self.positions, self.norm = nn.Embedding(config.max_length, dim), nn.LayerNorm(dim)
        self.blocks = nn.ModuleList(PaddedBlock(dim, config.heads, config.hidden_dim) for _ in encoder.blocks)
        state = encoder.state_dict()
        for at in range(len(self.blocks)):
            for kind in ("weight", "bias"):
                joined = [state.pop(f"blocks.{at}.{part}.{kind}") for part in ("query", "key", "value")]
                state[f"blocks.{at}.inputs.{kind}"] = torch.cat(joined)
        self.load_state_dict({**state, "items.weight": items})

    def forward(self, history_BL: torch.Tensor) -> torch.Tensor:
        """Return outputs [B, L, D]."""
        tokens = self.items(history_BL) + self.positions.weight[: history_BL.shape[1]]
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)


class PaddedTraining:
    """Plain torch: histories padded to the longest of the batch."""

    def __init__(self, sequences: Sequences):
        self.sequences = sequences
        ours = JaggedTraining(sequences, ATTENTION).model
        assert isinstance(ours.encoder.body, AttentionEncoder)
        self.model = PaddedSasrec(ours.items()[0].detach(), ours.encoder.body, ATTENTION)
        self.optimizers = [torch.optim.Adam(self.model.parameters(), lr=1e-3, fused=True)]

    def loss(self, number: int) -> torch.Tensor:
        """Return the mean loss over all positions that are not padding."""
        rows = self.sequences.histories(number)
        ids = torch.from_numpy(rows.padded(int(rows.lengths.max()))[0])
        history, target = ids[:, :-1], ids[:, 1:]
        real = target > 0
        users = self.model(history * real)[real]
        return loss_of(users, self.model.items.weight, target[real], self.sequences.negatives(number))

    def step(self, number: int) -> torch.Tensor:
        """Do one optimiser step."""
        return _step(self.loss(number), self.optimizers)


def _step(loss: torch.Tensor, optimizers: Sequence[torch.optim.Optimizer]) -> torch.Tensor:
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    return loss
