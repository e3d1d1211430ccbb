"""Sampling of negatives: targets of the batch, uniform draws and draws by popularity."""

import torch

from components.train_retriever.losses.config import CandidateSource, InBatch, Popularity, Uniform


class NegativeSampler:
    """Draws negatives from one seeded random stream."""

    def __init__(self, counts_I: torch.Tensor, seed: int):
        """Store the training counts of all catalog rows; rows with count 0 are drawn by Uniform only, row 0 never.

        Args:
            counts_I: How often each row is a target.
            seed: Seed of the draws.
        """
        self.counts = counts_I.double()
        self.items = len(counts_I)
        self._known: dict[CandidateSource, torch.Tensor] = {}
        self._ends: dict[CandidateSource, torch.Tensor] = {}
        self.random = torch.Generator().manual_seed(seed)

    def probabilities(self, source: CandidateSource) -> torch.Tensor:
        """Return the probability of each row in one draw, float64 [I]."""
        if source not in self._known:
            drawn = self._mass(source)
            self._known[source] = drawn / drawn.sum()
        return self._known[source]

    def _mass(self, source: CandidateSource) -> torch.Tensor:
        match source:
            case Uniform():
                drawn = torch.ones(self.items, dtype=torch.float64)
                drawn[0] = 0.0
                return drawn
            case Popularity():
                return torch.where(self.counts > 0, self.counts**source.power, 0.0)
            case InBatch():
                return self.counts

    def log_inclusion(self, sources: tuple[CandidateSource, ...], rows: torch.Tensor, batch: int) -> torch.Tensor:
        """Return the log probability that the sources' draws for `batch` targets include each of `rows`, float32."""
        absent = torch.ones(rows.shape, dtype=torch.float64)
        for source in sources:
            count = batch if isinstance(source, InBatch) else source.count
            absent *= torch.pow(1.0 - self.probabilities(source)[rows], count)
        return (1.0 - absent).clamp(min=1e-12).log().float()

    def shared(self, sources: tuple[CandidateSource, ...], target_N: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the batch's distinct candidates, int64 [C] ascending, and log inclusion probabilities, float32 [C]."""
        drawn = [target_N if isinstance(source, InBatch) else self._draw(source, source.count) for source in sources]
        rows = torch.unique(torch.cat(drawn))
        return rows, self.log_inclusion(sources, rows, len(target_N))

    def draws(self, source: CandidateSource, target_N: torch.Tensor) -> torch.Tensor:
        """Draw `count` items for each target, int64 [N, count]; a draw may be the target itself."""
        wanted = len(target_N) * source.count
        if isinstance(source, InBatch):
            drawn = target_N[torch.randint(len(target_N), (wanted,), generator=self.random)]
        else:
            drawn = self._draw(source, wanted)
        return drawn.view(len(target_N), source.count)

    def _draw(self, source: CandidateSource, count: int) -> torch.Tensor:
        if isinstance(source, Uniform):
            return torch.randint(1, self.items, (count,), generator=self.random)
        # torch.multinomial supports at most 2 ** 24 items.
        if source not in self._ends:
            self._ends[source] = self.probabilities(source).cumsum(0)
        ends = self._ends[source]
        positions = torch.rand(count, dtype=torch.float64, generator=self.random) * ends[-1]
        return torch.searchsorted(ends, positions, right=True).clamp(max=self.items - 1)
