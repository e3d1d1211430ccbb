"""Item index for hard negatives: all item vectors at a recent step, and the best items for each row of a batch."""

from dataclasses import dataclass

import numpy as np
import torch

from components.shared.features.ragged import Ragged

_SCORES = 16_000_000
"""Maximum number of scores in memory at a time, 64 MB."""


@dataclass(frozen=True)
class Hardest:
    """The items that a model ranks highest for each of B rows.

    Attributes:
        items: int64 [B, P], catalog rows in ascending order, so that positions do not depend on the rounding of scores;
            entries after the first `sizes` are meaningless.
        sizes: int64 [B], number of valid entries; below P only if too few items of the catalog are not positives.
    """

    items: np.ndarray
    sizes: np.ndarray


@dataclass(frozen=True)
class ItemIndex:
    """Vectors [I, D] and biases [I] of the whole catalog, without gradients; row 0 is not an item."""

    vectors: torch.Tensor
    biases: torch.Tensor

    @torch.no_grad()
    def hardest(self, user_BD: torch.Tensor, known: Ragged, pool: int) -> Hardest:
        """Return the `pool` items with the highest scores for each user; exact, at the cost of B * I scores.

        Args:
            user_BD: User vectors.
            known: Positive items of each of the B rows, which are excluded.
            pool: Number of items per row.
        """
        width = len(self.biases)
        pool, size = min(pool, width - 1), max(1, _SCORES // width)
        found = [
            self._part(user_BD[start : start + size], known.take(np.arange(start, min(start + size, len(known)))), pool)
            for start in range(0, len(user_BD), size)
        ]
        items = torch.cat(found)
        sizes = (items < width).sum(1)
        return Hardest(items.clamp(max=width - 1).cpu().numpy(), sizes.cpu().numpy())

    def _part(self, user_BD: torch.Tensor, known: Ragged, pool: int) -> torch.Tensor:
        """Return int64 [B, pool], ascending; missing entries hold the number of catalog rows."""
        scores = user_BD @ self.vectors.T + self.biases
        scores[:, 0] = float("-inf")
        row = np.repeat(np.arange(len(known)), known.lengths)
        scores[torch.from_numpy(row).to(scores.device), torch.from_numpy(known.values).to(scores.device)] = float(
            "-inf"
        )
        best = scores.topk(pool, 1)
        return best.indices.masked_fill(best.values == float("-inf"), len(self.biases)).sort(1).values
