"""Softmax losses with log-Q correction: against the batch's other targets, or against shared candidates in chunks.

Source: Yi et al., Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations (RecSys 2019).
"""

from functools import partial

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as dist_nn
from torch.utils.checkpoint import checkpoint

MASKED = -1e9
"""Finite, so that a row whose negatives are all masked has a loss of 0 and not a gradient of NaN."""

_LOGITS = 32_000_000
"""Maximum logits in memory at a time, 128 MB; larger batches run in chunks, recomputed in the backward pass."""


def gather_rows(tensor: torch.Tensor) -> torch.Tensor:
    """Gather the rows of all ranks, [ranks * rows, ...]; gradients flow back to the rank that owns each row."""
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
    """Return the mean cross-entropy of each row's targets against all other targets of the global batch.

    Args:
        user_BD: User vectors of this rank's B rows.
        item_ND: Vectors of this rank's N = B * K targets, row-major (row b owns b * K .. b * K + K - 1).
        bias_N: Item biases.
        item_id_N: Catalog rows, to mask targets that are the same item.
        log_q_N: log of each item's sampling probability; subtracted from its logit, so that popular items are not
            penalised for being frequent negatives.

    Returns:
        Scalar: mean over this rank's targets.
    """
    rows, targets = len(user_BD), len(item_id_N) // len(user_BD)
    items, biases = gather_rows(item_ND), gather_rows(bias_N)
    ids, log_q = gather_rows(item_id_N), gather_rows(log_q_N)
    logits_BM = user_BD @ items.T + biases - log_q
    first = dist.get_rank() * len(item_id_N)
    own = first + torch.arange(len(item_id_N), device=ids.device).view(rows, targets)
    # A row's targets are not negatives of each other, wherever else in the batch the same items occur.
    same_BM = (ids[None, :, None] == ids[own][:, None, :]).any(-1)
    negatives = torch.logsumexp(logits_BM.masked_fill(same_BM, MASKED), 1, keepdim=True)
    positive_BK = logits_BM.gather(1, own)
    return (torch.logaddexp(positive_BK, negatives) - positive_BK).mean()


def candidate_softmax(
    user_BD: torch.Tensor, positive_BK: torch.Tensor, item_CD: torch.Tensor, bias_C: torch.Tensor,
    known: tuple[torch.Tensor, torch.Tensor],
) -> torch.Tensor:  # fmt: skip
    """Return the mean cross-entropy of each target against the candidates that are not positives of its row.

    Args:
        user_BD: User vectors.
        positive_BK: Scores of each row's targets minus their log-Q.
        item_CD: Vectors of the candidates; their dtype is also that of the products.
        bias_C: Biases of the candidates minus their log-Q.
        known: int64 each, rows and candidates of the pairs to exclude.

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
    """Return the log-sum-exp of each row's logits, [B], excluding the pairs (row, candidate)."""
    logits = (user_BD.to(item_CD.dtype) @ item_CD.T).float() + bias_C
    logits[row, candidate] = MASKED
    return torch.logsumexp(logits, 1)
