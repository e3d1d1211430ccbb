"""Training objectives: the negatives of a step, and the loss over its targets and negatives.

A token is a row with one of its drawn targets: N = B * K on a rank, each with its row's user vector. Negatives are
drawn for the whole global batch from (seed, epoch, step) and then sliced, so they do not depend on the number of ranks.
A row's positives are never negatives of its tokens. Negatives get the unknown id as often as targets do: otherwise the
unknown bucket would only occur in positives, and items without an id would rank too high.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from components.shared.features.ragged import Ragged
from components.shared.training.compute_dtype import multiplies_bfloat16
from components.shared.training.group import Group
from components.train_retriever.batches import Batch
from components.train_retriever.config import SamplingConfig
from components.train_retriever.losses.config import (
    Bce,
    Bpr,
    FullSoftmax,
    Hard,
    InBatch,
    LossConfig,
    Mse,
    SampledSoftmax,
)
from components.train_retriever.losses.hard_index import Hardest
from components.train_retriever.losses.negatives import NegativeSampler
from components.train_retriever.losses.pairs import Vectors, pair_losses, rating_loss
from components.train_retriever.losses.softmax import candidate_softmax, gather_rows, sampled_softmax
from components.train_retriever.sources import RowSource

_DRAWS = 7_919
"""Separates the random stream of negatives from those of row order and targets."""

LossOf = Callable[..., torch.Tensor]
"""Maps user vectors [B, D], item vectors [N + M, D], biases [N + M] and Negatives.tensors to the mean loss."""


@dataclass(frozen=True)
class LocalBatch:
    """This rank's part of a global batch, before the forward pass.

    Attributes:
        batch: features of B rows and their N targets.
        known: positive items of each row.
        at: epoch and step.
        hardest: returns the items that the current model ranks highest for each row.
    """

    batch: Batch
    known: Ragged
    at: tuple[int, int]
    hardest: Callable[[Hard], Hardest]

    @property
    def targets(self) -> int:
        """K, the number of drawn targets per row."""
        return len(self.batch.item) // len(self.known)


@dataclass(frozen=True)
class Negatives:
    """The drawn items, which go through the item tower after the targets, and the loss.

    Attributes:
        loss: maps the towers' output to the loss.
        tensors: further inputs of the loss; created on the CPU, passed to the loss on the device.
        rows: int64 [M], catalog rows of the drawn items.
        dropped: bool [M], drawn items that get the unknown id.
    """

    loss: LossOf
    tensors: tuple[torch.Tensor, ...]
    rows: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    dropped: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))


class Objective(Protocol):
    """A loss with its source of negatives."""

    def draw(self, part: LocalBatch) -> Negatives:
        """Draw the negatives of a step."""
        ...


def objective(
    loss: LossConfig | None, source: RowSource, items: int, config: SamplingConfig, group: Group
) -> Objective:
    """Return the objective of a training run.

    Args:
        loss: Options of the loss; None: softmax over the batch's targets with log-Q correction.
        source: Training rows, to count how often items are targets.
        items: Number of catalog rows.
        config: Batch size, dropout and seed.
        group: The joined process group.
    """
    if loss is None:
        return InBatchSoftmax(torch.from_numpy(source.log_q(items)).to(group.device))
    if isinstance(loss, Mse):
        return Ratings(source.mean_rating())
    draws = Draws(source.counts(items), config, group)
    return PairObjective(loss, draws) if isinstance(loss, Bpr | Bce) else CandidateObjective(loss, draws)


class InBatchSoftmax:
    """The default objective: softmax.sampled_softmax over the targets, without further negatives."""

    def __init__(self, log_q: torch.Tensor):
        self.log_q = log_q

    def draw(self, part: LocalBatch) -> Negatives:
        """See Objective."""
        return Negatives(
            lambda user, vectors, biases, item: sampled_softmax(user, vectors, biases, item, self.log_q[item]),
            (torch.from_numpy(part.batch.item),),
        )


class Ratings:
    """Mean squared error of the drawn targets' ratings, without negatives.

    Args:
        mean: Mean of all training ratings.
    """

    def __init__(self, mean: float):
        self.mean = mean

    def draw(self, part: LocalBatch) -> Negatives:
        """See Objective."""
        assert part.batch.rating is not None, "rows/ratings.parquet has a rating of every target"

        def loss(user: torch.Tensor, vectors: torch.Tensor, biases: torch.Tensor, rating: torch.Tensor) -> torch.Tensor:
            tokens = Vectors(user.repeat_interleave(part.targets, 0), vectors, biases)
            return rating_loss(tokens, torch.arange(len(rating), device=user.device), rating, self.mean)

        return Negatives(loss, (torch.from_numpy(part.batch.rating),))


class Draws:
    """Random stream of negatives, seeded from (epoch, step) before the draws of each step."""

    def __init__(self, counts: np.ndarray, config: SamplingConfig, group: Group):
        self.sampler = NegativeSampler(torch.from_numpy(counts), config.seed)
        self.config, self.group = config, group
        part = group.share(config.batch_size)
        self.tokens = slice(part.start * config.targets, part.stop * config.targets)
        """Slice of this rank's tokens in the global batch."""

    def reseed(self, at: tuple[int, int]) -> None:
        """Seed the stream for (epoch, step), independent of earlier draws."""
        state = np.random.SeedSequence([self.config.seed, _DRAWS, *at]).generate_state(1, np.uint64)
        self.sampler.random.manual_seed(int(state[0]) >> 1)

    def uniform(self, *shape: int) -> np.ndarray:
        """Draw uniform numbers from 0 to 1, float32."""
        return torch.rand(shape, generator=self.sampler.random).numpy()

    def dropped(self, *shape: int) -> np.ndarray:
        """Draw which items get the unknown id, bool."""
        return self.uniform(*shape) < self.config.id_dropout

    def every_target(self, part: LocalBatch) -> torch.Tensor:
        """Gather the targets of the global batch, int64, on the CPU."""
        return gather_rows(torch.from_numpy(part.batch.item))


class CandidateObjective:
    """Softmax over candidates shared by all tokens: all items, or a sample with log-Q correction.

    A full softmax runs the item tower over the whole catalog at every step, divided among the ranks: for catalogs of up
    to about ten thousand items. Sampled candidates are divided among the ranks too; those that are targets of the batch
    are not computed again. `bfloat16` only has an effect on devices with bfloat16 instructions.
    """

    def __init__(self, config: FullSoftmax | SampledSoftmax, draws: Draws):
        self.config, self.draws = config, draws
        fast = config.bfloat16 and multiplies_bfloat16(draws.group.device)
        self.dtype = torch.bfloat16 if fast else torch.float32

    def draw(self, part: LocalBatch) -> Negatives:
        """See Objective."""
        self.draws.reseed(part.at)
        held, rows, log_q, own_log_q = self._candidates(part)
        new = np.setdiff1d(rows, held)
        dropped, group = self.draws.dropped(len(new)), self.draws.group
        share = -(-len(new) // group.world)
        # The shares of the last ranks are padded with row 0, which is never read.
        mine, filled = slice(group.rank * share, (group.rank + 1) * share), (0, share * group.world - len(new))
        # Position of each candidate in the vectors of all targets followed by all drawn items.
        position = torch.from_numpy(np.unique(np.concatenate([held, new]), return_index=True)[1])
        count = len(part.batch.item)

        def loss(user: torch.Tensor, vectors: torch.Tensor, biases: torch.Tensor, *given: torch.Tensor) -> torch.Tensor:
            position, log_q, own_log_q, row, column = given
            pieces = [slice(count)] * bool(len(held)) + [slice(count, None)] * bool(share)
            every = torch.cat([gather_rows(vectors[piece]) for piece in pieces]).index_select(0, position)
            bias = torch.cat([gather_rows(biases[piece]) for piece in pieces]).index_select(0, position)
            own = vectors[:count].contiguous().view(len(user), -1, vectors.shape[1])
            positive = torch.einsum("bd,bkd->bk", user, own) + (biases[:count] - own_log_q).view(len(user), -1)
            return candidate_softmax(user, positive, every.to(self.dtype), bias - log_q, (row, column))

        tensors = (position, log_q, own_log_q, *self._known(part, rows))
        return Negatives(loss, tensors, np.pad(new, filled)[mine], np.pad(dropped, filled)[mine])

    def _candidates(self, part: LocalBatch) -> tuple[np.ndarray, np.ndarray, torch.Tensor, torch.Tensor]:
        """Return targets that are candidates, all candidates ascending, their log-Q, and log-Q of the own targets."""
        item, sampler, none = part.batch.item, self.draws.sampler, np.zeros(0, np.int64)
        if isinstance(self.config, FullSoftmax):
            return none, np.arange(1, sampler.items), torch.zeros(sampler.items - 1), torch.zeros(len(item))
        sources, targets = self.config.sources, self.draws.every_target(part)
        rows, log_q = sampler.shared(sources, targets)
        own_log_q = sampler.log_inclusion(sources, torch.from_numpy(item), len(targets))
        in_batch = any(isinstance(source, InBatch) for source in sources)
        return targets.numpy() if in_batch else none, rows.numpy(), log_q, own_log_q

    def _known(self, part: LocalBatch, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return row and candidate position of every positive that is among the candidates."""
        row = np.repeat(np.arange(len(part.known)), part.known.lengths)
        position = np.minimum(np.searchsorted(rows, part.known.values), len(rows) - 1)
        found = rows[position] == part.known.values
        return torch.from_numpy(row[found]), torch.from_numpy(position[found])


class PairObjective:
    """BPR or BCE: each token is compared with its own negatives.

    A draw that is one of the row's positives is repeated once; if it is a positive again, it is ignored.
    """

    def __init__(self, config: Bpr | Bce, draws: Draws):
        self.config, self.draws = config, draws

    def draw(self, part: LocalBatch) -> Negatives:
        """See Objective."""
        self.draws.reseed(part.at)
        rows, counted = self._hard(part) if isinstance(self.config.source, Hard) else self._drawn(part)
        every = self.draws.config.batch_size * self.draws.config.targets
        dropped = self.draws.dropped(every, rows.shape[1])[self.draws.tokens]
        distinct, at = np.unique(rows * 2 + dropped, return_inverse=True)
        count = len(part.batch.item)
        positions = torch.from_numpy(count + at.reshape(rows.shape))

        def loss(
            user: torch.Tensor,
            vectors: torch.Tensor,
            biases: torch.Tensor,
            positions: torch.Tensor,
            counts: torch.Tensor,
        ) -> torch.Tensor:
            tokens = Vectors(user.repeat_interleave(part.targets, 0), vectors, biases)
            own = torch.arange(count, device=user.device)
            return pair_losses(self.config, tokens.scores(own), tokens.scores(positions), counts).mean()

        return Negatives(loss, (positions, torch.from_numpy(counted)), distinct // 2, distinct % 2 == 1)

    def _drawn(self, part: LocalBatch) -> tuple[np.ndarray, np.ndarray]:
        """Return the negatives of this rank's tokens, int64 [N, count], and which of them count, bool [N, count]."""
        source, targets = self.config.source, self.draws.every_target(part)
        assert not isinstance(source, Hard)
        first, second = (self.draws.sampler.draws(source, targets)[self.draws.tokens].numpy() for _ in range(2))
        rows = np.where(self._is_known(part, first), second, first)
        return rows, ~self._is_known(part, rows)

    def _hard(self, part: LocalBatch) -> tuple[np.ndarray, np.ndarray]:
        """See _drawn."""
        source = self.config.source
        assert isinstance(source, Hard)
        every = self.draws.config.batch_size * self.draws.config.targets
        position, best = self.draws.uniform(every, source.count)[self.draws.tokens], part.hardest(source)
        row = np.arange(len(position)) // part.targets
        sizes = best.sizes[row][:, None]
        rows = best.items[row[:, None], np.minimum(position * sizes, sizes - 1).astype(np.int64)]
        return rows, np.broadcast_to(sizes > 0, rows.shape).copy()

    def _is_known(self, part: LocalBatch, rows: np.ndarray) -> np.ndarray:
        """Return which of the tokens' items [N, M] are positives of their row."""
        width = self.draws.sampler.items
        known = np.repeat(np.arange(len(part.known)), part.known.lengths) * width + part.known.values
        return np.isin(np.arange(len(rows))[:, None] // part.targets * width + rows, known)
