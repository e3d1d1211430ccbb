"""Softmax of each row's targets against candidates that all rows share, its own positives left out; bounded memory."""

from functools import partial

import torch
from torch.utils.checkpoint import checkpoint

_MASKED = -1e9
"""Finite, because a row without any negative must have a loss of 0, not a gradient of NaN."""

_LOGITS = 32_000_000
"""Logits that are held at a time, 128 MB; more rows are done in parts, each made anew in the backward pass."""


def candidate_softmax(
    user_BD: torch.Tensor, positive_BK: torch.Tensor, item_CD: torch.Tensor, bias_C: torch.Tensor,
    known: tuple[torch.Tensor, torch.Tensor],
) -> torch.Tensor:  # fmt: skip
    """Mean cross-entropy of every target against the candidates that are no positives of its row.

    Args:
        user_BD: User vectors.
        positive_BK: Scores of each row's targets, their log-Q taken off.
        item_CD: Vectors of the candidates; products with them are made in their type.
        bias_C: Their biases, log-Q taken off.
        known: int64 each, row and candidate of every pair that is left out.

    Returns:
        Scalar: mean over the B * K targets.
    """
    size = max(1, _LOGITS // len(item_CD))
    if size >= len(user_BD):
        negatives = _log_sum(user_BD, item_CD, bias_C, *known)
    else:
        negatives = torch.cat([_part(user_BD, item_CD, bias_C, known, slice(start, start + size))
                               for start in range(0, len(user_BD), size)])  # fmt: skip
    return (torch.logaddexp(positive_BK, negatives.unsqueeze(1)) - positive_BK).mean()


def _part(
    user_BD: torch.Tensor, item_CD: torch.Tensor, bias_C: torch.Tensor, known: tuple[torch.Tensor, torch.Tensor],
    rows: slice,
) -> torch.Tensor:  # fmt: skip
    row, candidate = known
    inside = (row >= rows.start) & (row < rows.stop)
    made = partial(checkpoint, _log_sum, use_reentrant=False, preserve_rng_state=False)
    found = made(user_BD[rows], item_CD, bias_C, row[inside] - rows.start, candidate[inside])
    assert isinstance(found, torch.Tensor)
    return found


def _log_sum(
    user_BD: torch.Tensor, item_CD: torch.Tensor, bias_C: torch.Tensor, row: torch.Tensor, candidate: torch.Tensor
) -> torch.Tensor:
    """Log of the sum of exponentiated logits of each row, [B], without the pairs named."""
    logits = (user_BD.to(item_CD.dtype) @ item_CD.T).float() + bias_C
    logits[row, candidate] = _MASKED
    return torch.logsumexp(logits, 1)
