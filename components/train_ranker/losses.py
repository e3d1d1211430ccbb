"""Listwise loss of the ranker, used in addition to the cross-entropy of single pairs.

It normalises probabilities by their sum over the shopper's pairs instead of using a softmax of logits. It has the same
minimum as cross-entropy, so the order improves and probabilities stay calibrated. Source: Bai, Wang, Wang, Zhang &
Jagerman, Regression Compatible Listwise Objectives for Calibrated Ranking with Binary Relevance (CIKM 2023).
"""

import torch


def listwise_loss(log_wanted: torch.Tensor, label: torch.Tensor, row: torch.Tensor, shoppers: int) -> torch.Tensor:
    """Return the cross-entropy of labels and probabilities, both normalised per shopper, summed over shoppers.

    Args:
        log_wanted: float32 [pairs], log of the probability that a pair is wanted.
        label: float32 [pairs], 0 or 1, or in between for soft labels.
        row: int64 [pairs], the shopper of each pair, from 0.
        shoppers: Number of shoppers; those without pairs or positive labels add 0.
    """
    largest = torch.full((shoppers,), -torch.inf, device=row.device).scatter_reduce(0, row, log_wanted.detach(), "amax")
    apart = log_wanted - largest[row]
    total = torch.zeros(shoppers, device=row.device).index_add(0, row, apart.exp())
    wanted = torch.zeros(shoppers, device=row.device).index_add(0, row, label)
    share = label / wanted.clamp(min=torch.finfo(label.dtype).tiny)[row]
    return -(share * (apart - total.log()[row])).sum()
