"""Where negatives come from: the batch's own targets, uniform draws, draws by popularity, the hardest of the index."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from components.shared.config_fields import Count, Rate
from components.shared.errors import InputError


@dataclass(frozen=True, kw_only=True)
class InBatch:
    """Targets of other tokens; costs no draw, and popular items come often."""

    count: Count = 1
    """A token, for losses on pairs; a sampled softmax takes all of the batch's targets."""


@dataclass(frozen=True, kw_only=True)
class Uniform:
    """Every item alike."""

    count: Count = 1
    """Draws: a token for losses on pairs, a batch for a sampled softmax."""


@dataclass(frozen=True, kw_only=True)
class Popularity:
    """In proportion to training counts to a power.

    Source of the power: Mikolov et al., Distributed Representations of Words and Phrases (NeurIPS 2013).
    """

    count: Count = 1
    """Draws: a token for losses on pairs, a batch for a sampled softmax."""
    power: Rate = 0.75
    """1 draws by popularity itself, 0 is uniform."""


@dataclass(frozen=True, kw_only=True)
class Hard:
    """The items that the model now ranks highest for the token, its own target left out.

    Source: Xiong et al., Approximate Nearest Neighbor Negative Contrastive Learning (ICLR 2021).
    """

    count: Count = 1
    """Draws a token."""
    pool: Count = 50
    """How many of the highest are drawn from; a larger pool holds fewer items that are in truth liked."""
    refresh: Count = 5
    """Steps that the stage uses an index of all items for; a checkpoint ends it too. What was hard long ago is hard no
    more. It means nothing to a sampler that is handed scores, for they are of the step itself."""


NegativeSource = InBatch | Uniform | Popularity | Hard


class NegativeSampler:
    """Draws negatives; one random stream from the seed."""

    def __init__(self, counts_I: torch.Tensor, seed: int):
        """Remember the training counts of all catalog rows; rows without any (row 0 too) are drawn by Uniform only.

        Args:
            counts_I: How often each row is a target.
            seed: Of the draws.
        """
        self.counts = counts_I.double()
        self.items = len(counts_I)
        self._known: dict[NegativeSource, torch.Tensor] = {}
        self._ends: dict[NegativeSource, torch.Tensor] = {}
        self.random = torch.Generator().manual_seed(seed)

    def probabilities(self, source: NegativeSource) -> torch.Tensor:
        """Probability of each row in one draw, float64 [I].

        Raises:
            InputError: the source is Hard, whose draws have no known probability.
        """
        if source not in self._known:
            drawn = self._mass(source)
            self._known[source] = drawn / drawn.sum()
        return self._known[source]

    def _mass(self, source: NegativeSource) -> torch.Tensor:
        match source:
            case Uniform():
                drawn = torch.ones(self.items, dtype=torch.float64)
                drawn[0] = 0.0
                return drawn
            case Popularity():
                return torch.where(self.counts > 0, self.counts**source.power, 0.0)
            case InBatch():
                return self.counts
            case Hard():
                raise InputError(
                    "negatives: Hard has no log-Q for a sampled softmax",
                    "use InBatch, Uniform or Popularity with it, or Hard with the BPR or BCE loss",
                )

    def log_inclusion(self, sources: tuple[NegativeSource, ...], rows: torch.Tensor, batch: int) -> torch.Tensor:
        """Log probability that the draws of all sources for `batch` targets bring each of `rows`, float32."""
        absent = torch.ones(rows.shape, dtype=torch.float64)
        for source in sources:
            count = batch if isinstance(source, InBatch) else source.count
            absent *= torch.pow(1.0 - self.probabilities(source)[rows], count)
        return (1.0 - absent).clamp(min=1e-12).log().float()

    def shared(self, sources: tuple[NegativeSource, ...], target_N: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Distinct candidates of the whole batch, int64 [C] ascending, and their log inclusion, float32 [C]."""
        drawn = [target_N if isinstance(source, InBatch) else self._draw(source, source.count) for source in sources]
        rows = torch.unique(torch.cat(drawn))
        return rows, self.log_inclusion(sources, rows, len(target_N))

    def per_token(
        self, source: NegativeSource, target_N: torch.Tensor, scores: Callable[[], torch.Tensor]
    ) -> torch.Tensor:
        """Negatives of each token, int64 [N, count]; a draw that is the token's own target is drawn again once.

        Args:
            source: Where from.
            target_N: Targets of the batch.
            scores: Makes the scores of all items for each token, [N, I]; asked by Hard only.
        """
        if isinstance(source, Hard):
            return self._hardest(source, target_N, scores())
        first, second = (self.draws(source, target_N) for _ in range(2))
        return torch.where(first == target_N.unsqueeze(1), second, first)

    def draws(self, source: InBatch | Uniform | Popularity, target_N: torch.Tensor) -> torch.Tensor:
        """One draw of `count` items for each target, int64 [N, count], whatever the targets are."""
        wanted = len(target_N) * source.count
        if isinstance(source, InBatch):
            drawn = target_N[torch.randint(len(target_N), (wanted,), generator=self.random)]
        else:
            drawn = self._draw(source, wanted)
        return drawn.view(len(target_N), source.count)

    def _draw(self, source: NegativeSource, count: int) -> torch.Tensor:
        if isinstance(source, Uniform):
            return torch.randint(1, self.items, (count,), generator=self.random)
        # torch.multinomial takes 2 ** 24 items at most.
        if source not in self._ends:
            self._ends[source] = self.probabilities(source).cumsum(0)
        ends = self._ends[source]
        places = torch.rand(count, dtype=torch.float64, generator=self.random) * ends[-1]
        return torch.searchsorted(ends, places, right=True).clamp(max=self.items - 1)

    def _hardest(self, source: Hard, target_N: torch.Tensor, scores_NI: torch.Tensor) -> torch.Tensor:
        scores_NI[:, 0] = float("-inf")
        scores_NI.scatter_(1, target_N.unsqueeze(1), float("-inf"))
        pool = scores_NI.topk(min(source.pool, self.items - 2), 1).indices
        places = torch.randint(pool.shape[1], (len(target_N), source.count), generator=self.random)
        return pool.gather(1, places)
