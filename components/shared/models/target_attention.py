"""Target attention over the behaviour sequence: the weight of each past item depends on the item to score.

Source: Zhou et al., Deep Interest Network for Click-Through Rate Prediction (KDD 2018). Differences: sigmoid instead of
Dice, which needs running statistics; the activation unit's first layer is split, so that its largest part is one bmm.
"""

import torch
from torch import nn

from components.shared.models.ranker_options import TargetAttentionConfig


class TargetAttention(nn.Module):
    """Sum of a sequence's items, weighted by their relation to the target; the weights are not normalised."""

    def __init__(self, config: TargetAttentionConfig, dim: int):
        super().__init__()
        self.behaviour = nn.Linear(dim, config.hidden_dim)
        self.target = nn.Linear(dim, config.hidden_dim, bias=False)
        self.product = nn.Parameter(torch.empty(dim, config.hidden_dim))
        self.outcome = nn.Linear(config.hidden_dim, 1)
        nn.init.xavier_uniform_(self.product)

    def forward(
        self, behaviour_SLD: torch.Tensor, weight_SL: torch.Tensor, target_PD: torch.Tensor, row_P: torch.Tensor
    ) -> torch.Tensor:
        """Return the sequence attended by each target, [P, D].

        Args:
            behaviour_SLD: Embeddings of the shoppers' sequences.
            weight_SL: Weights of the sequences' items (0: padding).
            target_PD: Embeddings of the items to score, from the same table.
            row_P: int64, the shopper of each pair.
        """
        own = self.behaviour(behaviour_SLD).index_select(0, row_P)
        behaviour_PLD = behaviour_SLD.index_select(0, row_P)
        product = torch.bmm(behaviour_PLD, target_PD.unsqueeze(2) * self.product)
        hidden = torch.sigmoid(own + self.target(target_PD).unsqueeze(1) + product)
        weight = self.outcome(hidden).squeeze(2) * weight_SL.index_select(0, row_P)
        return torch.bmm(weight.unsqueeze(1), behaviour_PLD).squeeze(1)
