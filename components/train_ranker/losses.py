"""What the ranker learns from: whether each pair is wanted, and which of one shopper's pairs are wanted more.

The second reads probabilities divided by their sum over the shopper's pairs, not a softmax of logits: it is least where
cross-entropy is, so that the order is learned and probabilities stay calibrated. Source: Bai, Wang, Wang, Zhang &
Jagerman, Regression Compatible Listwise Objectives for Calibrated Ranking with Binary Relevance (CIKM 2023).
"""

import torch


def listwise_loss(log_wanted: torch.Tensor, label: torch.Tensor, row: torch.Tensor, shoppers: int) -> torch.Tensor:
    """Cross-entropy between each shopper's labels and probabilities, both divided by their sums; summed over shoppers.

    Args:
        log_wanted: float32 [pairs], log of the probability that a pair is wanted.
        label: float32 [pairs], 0 or 1, or anything between for softened labels.
        row: int64 [pairs], the shopper of each pair, from 0.
        shoppers: How many there are; who wanted nothing, or has no pair, adds nothing.
    """
    largest = torch.full((shoppers,), -torch.inf, device=row.device).scatter_reduce(0, row, log_wanted.detach(), "amax")
    apart = log_wanted - largest[row]
    total = torch.zeros(shoppers, device=row.device).index_add(0, row, apart.exp())
    wanted = torch.zeros(shoppers, device=row.device).index_add(0, row, label)
    share = label / wanted.clamp(min=torch.finfo(label.dtype).tiny)[row]
    return -(share * (apart - total.log()[row])).sum()
