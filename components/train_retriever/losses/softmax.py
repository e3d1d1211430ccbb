"""Softmax of each row's targets, log-Q corrected: against the batch's other targets, or shared candidates in chunks.

Source: Yi et al., Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations (RecSys 2019).
"""

from functools import partial

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as dist_nn
from torch.utils.checkpoint import checkpoint

MASKED = -1e9
"""Finite, because a row whose every negative is masked must have a loss of 0, not a gradient of NaN."""

_LOGITS = 32_000_000
"""Logits that are held at a time, 128 MB; more rows are done in parts, each made anew in the backward pass."""


def gather_rows(tensor: torch.Tensor) -> torch.Tensor:
    """Rows of all ranks, [ranks * rows, ...]; gradients flow back to the rank that owns each row."""
    if dist.get_world_size() == 1:
        return tensor
    if tensor.requires_grad:
        return torch.cat(dist_nn.all_gather(tensor.contiguous()))
    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)


def sampled_softmax(
    user_BD: torch.Tensor, item_ND: torch.Tensor, bias_N: torch.Tensor, item_id_N: torch.Tensor, log_q_N: torch.Tensor
) -> torch.Tensor:
    """Mean cross-entropy of every row's own targets against all other targets of the global batch.

    Args:
        user_BD: User vectors of this rank's B rows.
        item_ND: Vectors of this rank's N = B * K targets, row-major (row b owns b * K .. b * K + K - 1).
        bias_N: Item biases.
        item_id_N: Catalog rows, to mask targets that are the same item.
        log_q_N: log of each item's probability to be drawn; taken off its logit, so that popular items are not
            punished for being everybody's negatives.

    Returns:
        Scalar: mean over this rank's targets.
    """
    rows, targets = len(user_BD), len(item_id_N) // len(user_BD)
    items, biases = gather_rows(item_ND), gather_rows(bias_N)
    ids, log_q = gather_rows(item_id_N), gather_rows(log_q_N)
    logits_BM = user_BD @ items.T + biases - log_q
    first = dist.get_rank() * len(item_id_N)
    own = first + torch.arange(len(item_id_N), device=ids.device).view(rows, targets)
    # A row's own targets are no negatives of each other, wherever in the batch the same item stands.
    same_BM = (ids[None, :, None] == ids[own][:, None, :]).any(-1)
    negatives = torch.logsumexp(logits_BM.masked_fill(same_BM, MASKED), 1, keepdim=True)
    positive_BK = logits_BM.gather(1, own)
    return (torch.logaddexp(positive_BK, negatives) - positive_BK).mean()


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
    logits[row, candidate] = MASKED
    return torch.logsumexp(logits, 1)
