"""Target attention over the behaviour sequence: what counts of a shopper's past depends on the item that is scored.

Source: Zhou et al., Deep Interest Network for Click-Through Rate Prediction (KDD 2018); sigmoid in place of Dice, which
would need running statistics, and the activation unit's first layer split so that its largest part is one bmm.
"""

import torch
from torch import nn

from components.shared.models.ranker_options import TargetAttentionConfig


class TargetAttention(nn.Module):
    """Weighs each item of a sequence by its relation to the target and sums; the sum is not normalised."""

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
        """The sequence as each target sees it, [P, D].

        Args:
            behaviour_SLD: Embeddings of the shoppers' sequences.
            weight_SL: The sequences' own weights (0: padding).
            target_PD: Embeddings of the items to score, from the same table.
            row_P: int64, the shopper of each pair.
        """
        own = self.behaviour(behaviour_SLD).index_select(0, row_P)
        behaviour_PLD = behaviour_SLD.index_select(0, row_P)
        product = torch.bmm(behaviour_PLD, target_PD.unsqueeze(2) * self.product)
        hidden = torch.sigmoid(own + self.target(target_PD).unsqueeze(1) + product)
        weight = self.outcome(hidden).squeeze(2) * weight_SL.index_select(0, row_P)
        return torch.bmm(weight.unsqueeze(1), behaviour_PLD).squeeze(1)
