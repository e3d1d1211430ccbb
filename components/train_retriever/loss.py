"""In-batch sampled softmax with log-Q correction, over the targets of all ranks.

Source: Yi et al., Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations (RecSys 2019).
"""

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as dist_nn

_MASKED = -1e9
"""Finite, because a row whose every negative is masked must have a loss of 0, not a gradient of NaN."""


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
    negatives = torch.logsumexp(logits_BM.masked_fill(same_BM, _MASKED), 1, keepdim=True)
    positive_BK = logits_BM.gather(1, own)
    return (torch.logaddexp(positive_BK, negatives) - positive_BK).mean()
