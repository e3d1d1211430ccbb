"""Training of a sequence retriever in one process: every prefix of every history predicts the next item."""

import copy
import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from components.shared.errors import TrainingError
from components.shared.features.ragged import Ragged, expand_ranges, offsets_of
from components.shared.models.encoders.config import EncoderConfig, max_length
from components.shared.progress import report
from components.train_retriever.losses.config import RankingLoss
from components.train_retriever.losses.negatives import NegativeSampler
from components.train_retriever.losses.pairs import Vectors
from tests.benchmarks.published.item_tower import ItemTowerConfig
from tests.benchmarks.published.layouts import Layout
from tests.benchmarks.published.optimizers import OptimizerChoice, build_optimizers
from tests.benchmarks.published.ranking_loss import ranking_loss
from tests.benchmarks.published.sequence_retriever import (
    ScoringConfig,
    SequenceRetriever,
    SequenceRetrieverConfig,
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings for training a sequence retriever."""

    name: str
    """Name in tables."""
    encoder: EncoderConfig
    """Encoder of the history."""
    loss: RankingLoss
    """Loss to minimise."""
    optimizer: OptimizerChoice
    """Optimiser of the weights."""
    scoring: ScoringConfig = field(default_factory=ScoringConfig)
    """Scoring of user and item vectors."""
    dim: int = 64
    """Width of all vectors."""
    attributes: bool = True
    """Whether item vectors include the items' attributes, if there are any."""
    item_dropout: float = 0.0
    """Dropout on item vectors, as tokens and as candidates."""
    recency: float = 1.0
    """Weight of the oldest history's tokens relative to the newest, if histories are dated; it grows by a constant
    factor per history."""
    averaging: float = 0.0
    """Decay of the weight averages, which are then evaluated; 0: no averaging, the latest weights are evaluated."""
    batch_tokens: int = 2_048
    """Approximate number of tokens per batch."""
    epochs: int = 60
    """Maximum number of epochs."""
    patience: int = 4
    """Epochs without an improved validation metric before training stops."""
    plateau_decay: float = 0.5
    """Factor on the learning rates after an epoch without an improved validation metric."""


@dataclass
class Trained:
    """A trained model and its training curve.

    Attributes:
        model: In evaluation mode, with the weights of the best epoch.
        rates: Factor on the learning rates for each epoch up to the best one; allows training again without validation.
        curve: One point per epoch.
    """

    model: SequenceRetriever
    rates: list[float]
    curve: list[dict[str, float]]


def examples(histories: Ragged, limit: int | None) -> Ragged:
    """Split histories of at least two items into windows of `limit` + 1 items that share their border item."""
    width = limit + 1 if limit else int(histories.lengths.max(initial=2))
    windows = np.maximum(-(-(histories.lengths - 1) // (width - 1)), 0)
    step = np.arange(windows.sum()) - np.repeat(offsets_of(windows)[:-1], windows)
    begin = np.repeat(histories.offsets[:-1], windows) + step * (width - 1)
    lengths = np.minimum(np.repeat(histories.offsets[1:], windows) - begin, width)
    flat = expand_ranges(begin, lengths)
    return Ragged(offsets_of(lengths), histories.values[flat], histories.weights[flat])


def newest(histories: Ragged, limit: int | None) -> Ragged:
    """Return the newest `limit` items of each history."""
    if limit is None:
        return histories
    lengths = np.minimum(histories.lengths, limit)
    flat = expand_ranges(histories.offsets[1:] - lengths, lengths)
    return Ragged(offsets_of(lengths), histories.values[flat], histories.weights[flat])


def by_recency(histories: Ragged, oldest: float) -> Ragged:
    """Return histories with weights from `oldest` (first history) to 1 (last history)."""
    weight = np.geomspace(oldest, 1.0, len(histories), dtype=np.float32)
    return Ragged(histories.offsets, histories.values, np.repeat(weight, histories.lengths))


def shuffled(histories: Ragged, random: np.random.Generator) -> Ragged:
    """Return every history in random order."""
    owner = np.repeat(np.arange(len(histories)), histories.lengths)
    order = np.lexsort((random.random(len(owner)), owner))
    return Ragged(histories.offsets, histories.values[order], histories.weights[order])


def batches(rows: Ragged, tokens: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the rows of batches of about `tokens` tokens: similar lengths per batch, batches in random order."""
    order = random.permutation(len(rows))
    pools = np.array_split(order, max(1, round(int(rows.lengths.sum()) / (32 * tokens))))
    cut = []
    for pool in pools:
        pool = pool[np.argsort(rows.lengths[pool], kind="stable")]
        filled = np.cumsum(rows.lengths[pool] - 1) // tokens
        cut += np.split(pool, np.flatnonzero(np.diff(filled)) + 1)
    for place in random.permutation(len(cut)):
        yield cut[place]


class Trainer:
    """Model, data and optimisers of one run."""

    def __init__(self, recipe: Recipe, layout: Layout, histories: Ragged, seed: int):
        self.recipe, self.layout = recipe, layout
        self.histories = by_recency(histories, recipe.recency) if layout.dated else histories
        torch.manual_seed(seed)
        self.random = np.random.default_rng(seed)
        self.limit = max_length(recipe.encoder)
        bags = layout.bags if recipe.attributes else ()
        tower = ItemTowerConfig(rows=layout.items, dim=recipe.dim, bags=bags, dropout=recipe.item_dropout)
        config = SequenceRetrieverConfig(tower=tower, encoder=recipe.encoder, scoring=recipe.scoring)
        self.model = SequenceRetriever(config, layout.features)
        self.optimizers = build_optimizers(recipe.optimizer, self.model)
        self.initial = [group["lr"] for optimizer in self.optimizers for group in optimizer.param_groups]
        keep = get_ema_multi_avg_fn(recipe.averaging)
        self.average = AveragedModel(self.model, multi_avg_fn=keep) if recipe.averaging else None
        counts = np.bincount(histories.values, minlength=layout.items)
        self.sampler = NegativeSampler(torch.from_numpy(counts), seed)

    def judged(self) -> SequenceRetriever:
        """Return the model that validation and test evaluate, in evaluation mode."""
        return (self.model if self.average is None else cast(SequenceRetriever, self.average.module)).eval()

    def epoch(self, factor: float) -> float:
        """Train one epoch with learning rates times `factor` and return the mean loss.

        Raises:
            TrainingError: the loss is not finite.
        """
        groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        for group, rate in zip(groups, self.initial, strict=True):
            group["lr"] = rate * factor
        self.model.train()
        ordered = self.histories if self.layout.ordered else shuffled(self.histories, self.random)
        rows = examples(ordered, self.limit)
        total, count = 0.0, 0
        for chosen in batches(rows, self.recipe.batch_tokens, self.random):
            loss, tokens = self._step(rows.take(chosen))
            total, count = total + loss * tokens, count + tokens
        if not np.isfinite(total):
            raise TrainingError(f"{self.recipe.name}: the loss is {total}", "lower the recipe's learning rate")
        return total / count

    def _step(self, rows: Ragged) -> tuple[float, int]:
        history, target = np.ones(len(rows.values), bool), np.ones(len(rows.values), bool)
        history[rows.offsets[1:] - 1] = False
        target[rows.offsets[:-1]] = False
        offsets = torch.from_numpy(rows.offsets - np.arange(len(rows.offsets)))
        wanted = torch.from_numpy(rows.values[target])
        items, bias = self.model.items()
        users = self.model.every_prefix(items, torch.from_numpy(rows.values[history]), offsets)
        vectors = Vectors(users, items, bias, self.model.item_side)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss = ranking_loss(self.recipe.loss, vectors, wanted, self.sampler, torch.from_numpy(rows.weights[target]))
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return float(loss.detach()), len(wanted)


def train(
    recipe: Recipe, layout: Layout, histories: Ragged, seed: int, validate: Callable[[SequenceRetriever], float]
) -> Trained:
    """Train until the validation metric stops improving and keep the best epoch."""
    trainer = Trainer(recipe, layout, histories, seed)
    best, best_state, factor = -1.0, copy.deepcopy(trainer.judged().state_dict()), 1.0
    rates, curve, stale, started = [], [], 0, time.monotonic()
    for epoch in range(recipe.epochs):
        loss = trainer.epoch(factor)
        rates.append(factor)
        value = validate(trainer.judged())
        curve.append({"loss": loss, "validation": value, "rate": factor, "seconds": time.monotonic() - started})
        report("benchmark", (epoch + 1) / recipe.epochs, f"{recipe.name} loss {loss:.4f} validation {value:.5f}")
        if value > best:
            best, best_state, stale = value, copy.deepcopy(trainer.judged().state_dict()), 0
            continue
        stale, factor = stale + 1, factor * recipe.plateau_decay
        if stale >= recipe.patience:
            break
    trainer.judged().load_state_dict(best_state)
    kept = max(range(len(curve)), key=lambda epoch: curve[epoch]["validation"]) + 1
    return Trained(trainer.judged(), rates[:kept], curve)


def train_again(recipe: Recipe, layout: Layout, histories: Ragged, seed: int, rates: list[float]) -> SequenceRetriever:
    """Train for the epochs and learning rates that were best in a validated run."""
    trainer = Trainer(dataclasses.replace(recipe, epochs=len(rates)), layout, histories, seed)
    for epoch, factor in enumerate(rates):
        loss = trainer.epoch(factor)
        report("benchmark", (epoch + 1) / len(rates), f"{recipe.name} again, loss {loss:.4f}")
    return trainer.judged()


class SequenceScorer:
    """A trained model as a Scorer; the catalog's vectors are computed once."""

    @torch.no_grad()
    def __init__(self, model: SequenceRetriever):
        self.model = model
        self.tokens, self.bias = model.items()
        self.items = model.item_side(self.tokens).T.contiguous()

    @torch.no_grad()
    def __call__(self, queries: Ragged) -> torch.Tensor:
        """Return scores, float [queries, items]."""
        recent = newest(queries, max_length(self.model.config.encoder))
        users = self.model.user_vectors(self.tokens, torch.from_numpy(recent.values), torch.from_numpy(recent.offsets))
        return users @ self.items + self.bias
