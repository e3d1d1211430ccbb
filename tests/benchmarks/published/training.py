"""Trains a sequence retriever in one process: every prefix of every history predicts what followed it."""

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
    """Everything that decides how a sequence retriever is trained."""

    name: str
    """In tables."""
    encoder: EncoderConfig
    """What reads the history."""
    loss: RankingLoss
    """What is minimised."""
    optimizer: OptimizerChoice
    """What moves the weights."""
    scoring: ScoringConfig = field(default_factory=ScoringConfig)
    """What vectors are compared by."""
    dim: int = 64
    """Width of all vectors."""
    attributes: bool = True
    """Whether item vectors hold the items' attributes, where there are any."""
    item_dropout: float = 0.0
    """On item vectors, on both sides."""
    recency: float = 1.0
    """Weight of the oldest history's tokens against the newest one's, where histories are dated; between them it grows
    by a constant factor from history to history."""
    averaging: float = 0.0
    """Share of the averaged weights that a step keeps; the averages are what is judged. 0: the newest weights are."""
    batch_tokens: int = 2_048
    """Tokens of a batch, about."""
    epochs: int = 60
    """Upper limit of passes."""
    patience: int = 4
    """Epochs without a better validation before training ends."""
    plateau_decay: float = 0.5
    """Learning rates are multiplied by it after an epoch without a better validation."""


@dataclass
class Trained:
    """A model and how it came about.

    Attributes:
        model: In evaluation mode, with the weights of the best epoch.
        rates: Learning rates' factor of each epoch up to the best one; enough to train again without a validation.
        curve: One point an epoch.
    """

    model: SequenceRetriever
    rates: list[float]
    curve: list[dict[str, float]]


def examples(histories: Ragged, limit: int | None) -> Ragged:
    """Histories of at least two items, cut into windows of `limit` + 1 items that share their border item."""
    width = limit + 1 if limit else int(histories.lengths.max(initial=2))
    windows = np.maximum(-(-(histories.lengths - 1) // (width - 1)), 0)
    step = np.arange(windows.sum()) - np.repeat(offsets_of(windows)[:-1], windows)
    begin = np.repeat(histories.offsets[:-1], windows) + step * (width - 1)
    lengths = np.minimum(np.repeat(histories.offsets[1:], windows) - begin, width)
    flat = expand_ranges(begin, lengths)
    return Ragged(offsets_of(lengths), histories.values[flat], histories.weights[flat])


def newest(histories: Ragged, limit: int | None) -> Ragged:
    """The newest `limit` items of each history."""
    if limit is None:
        return histories
    lengths = np.minimum(histories.lengths, limit)
    flat = expand_ranges(histories.offsets[1:] - lengths, lengths)
    return Ragged(offsets_of(lengths), histories.values[flat], histories.weights[flat])


def by_recency(histories: Ragged, oldest: float) -> Ragged:
    """Histories whose items weigh from `oldest` (the first history) to 1 (the last one)."""
    weight = np.geomspace(oldest, 1.0, len(histories), dtype=np.float32)
    return Ragged(histories.offsets, histories.values, np.repeat(weight, histories.lengths))


def shuffled(histories: Ragged, random: np.random.Generator) -> Ragged:
    """Every history in a random order."""
    owner = np.repeat(np.arange(len(histories)), histories.lengths)
    order = np.lexsort((random.random(len(owner)), owner))
    return Ragged(histories.offsets, histories.values[order], histories.weights[order])


def batches(rows: Ragged, tokens: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Rows of each batch of about `tokens` tokens: alike in length, in random order."""
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
        """The model that validation and test look at, in evaluation mode."""
        return (self.model if self.average is None else cast(SequenceRetriever, self.average.module)).eval()

    def epoch(self, factor: float) -> float:
        """One pass with learning rates times `factor`; returns the mean loss.

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
    """Train until validation no longer rises and keep the best epoch."""
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
    """Train for as many epochs, at the same rates, as a validated run found best."""
    trainer = Trainer(dataclasses.replace(recipe, epochs=len(rates)), layout, histories, seed)
    for epoch, factor in enumerate(rates):
        loss = trainer.epoch(factor)
        report("benchmark", (epoch + 1) / len(rates), f"{recipe.name} again, loss {loss:.4f}")
    return trainer.judged()


class SequenceScorer:
    """A trained model as a Scorer; the catalog's vectors are made once."""

    @torch.no_grad()
    def __init__(self, model: SequenceRetriever):
        self.model = model
        self.tokens, self.bias = model.items()
        self.items = model.item_side(self.tokens).T.contiguous()

    @torch.no_grad()
    def __call__(self, queries: Ragged) -> torch.Tensor:
        """Scores, float [queries, items]."""
        recent = newest(queries, max_length(self.model.config.encoder))
        users = self.model.user_vectors(self.tokens, torch.from_numpy(recent.values), torch.from_numpy(recent.offsets))
        return users @ self.items + self.bias
