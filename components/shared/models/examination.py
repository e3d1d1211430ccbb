"""Position bias: an item is clicked if it is examined and wanted; only the second factor belongs in the score.

    P(click) = P(examined | position) * P(wanted | shopper, item)

The position is only used in training. Sources: Richardson, Dominowska & Ragno, Predicting Clicks: Estimating the
Click-Through Rate for New Ads (WWW 2007); Wang et al., Position Bias Estimation for Unbiased Learning to Rank in
Personal Search (WSDM 2018), here learned jointly with the ranker.
"""

import torch
import torch.nn.functional as F
from torch import nn

UNKNOWN, NOT_SHOWN = 0, -1
"""Codes for unknown positions, and for items that were not in any logged answer of the shopper."""


class Examination(nn.Module):
    """Learned probability that a position of an answer is examined.

    Only ratios of examination probabilities can be learned from clicks, so position 1 is the reference with probability
    1; UNKNOWN positions have it too. NOT_SHOWN items have a separate probability of being seen elsewhere in the shop:
    without it, unsold items that were in no response would lower the scores of all items.

    Args:
        positions: Largest position; items ranked lower share its probability.
    """

    def __init__(self, positions: int):
        super().__init__()
        self.logits = nn.Parameter(torch.full((max(positions - 1, 0),), 2.0))
        self.not_shown = nn.Parameter(torch.full((1,), 2.0))

    def forward(self, position: torch.Tensor) -> torch.Tensor:
        """Return log P(examined), float32, same shape as `position` (int64)."""
        known = torch.cat([self.logits.new_zeros(2), F.logsigmoid(self.logits), F.logsigmoid(self.not_shown)])
        return known[torch.where(position == NOT_SHOWN, len(known) - 1, position.clamp(0, len(known) - 2))]

    def probabilities(self) -> torch.Tensor:
        """Return P(examined) of positions 1 to the largest, float32 [positions]."""
        return self(torch.arange(1, len(self.logits) + 2, device=self.logits.device)).exp()


def click_loss(
    logit: torch.Tensor, examined: torch.Tensor, label: torch.Tensor, weight: torch.Tensor | float = 1.0
) -> torch.Tensor:
    """Return the summed cross-entropy of clicks.

    Args:
        logit: Logit of P(wanted).
        examined: log P(examined); zeros give the usual cross-entropy.
        label: 1 for a click, else 0; in between for soft labels.
        weight: Impressions that each entry stands for.
    """
    log_click = F.logsigmoid(logit) + examined
    # log(1 - e^x) without loss of precision at either end (Maechler, Accurately Computing log(1 - exp(-|a|)), 2012).
    bounded = log_click.clamp(max=-1e-7)
    log_none = torch.where(bounded > -0.6931, torch.log(-torch.expm1(bounded)), torch.log1p(-torch.exp(bounded)))
    return -(weight * (label * log_click + (1.0 - label) * log_none)).sum()
