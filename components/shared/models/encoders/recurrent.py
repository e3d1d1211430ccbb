"""Encoders whose output at a token is a running summary: pooled DNN, GRU, dilated convolutions."""

import torch
import torch.nn.functional as F
from torch import nn

from components.shared.models.encoders.config import ConvConfig, GruConfig, PooledConfig
from components.shared.models.encoders.rows import TokenRows


class PooledEncoder(nn.Module):
    """Running mean of the tokens, then a residual MLP.

    Source: Covington et al., Deep Neural Networks for YouTube Recommendations (RecSys 2016).
    """

    def __init__(self, config: PooledConfig, dim: int):
        super().__init__()
        self.hidden, self.out = nn.Linear(dim, config.hidden_dim), nn.Linear(config.hidden_dim, dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: torch.Tensor, rows: TokenRows) -> torch.Tensor:
        """Return outputs of the same shape as the tokens."""
        mean = rows.unpad(rows.pad(tokens).cumsum(1)) / (rows.position + 1).unsqueeze(-1)
        return mean + self.out(self.dropout(F.relu(self.hidden(mean))))


class GruEncoder(nn.Module):
    """Recurrent encoder.

    Source: Hidasi et al., Session-based Recommendations with Recurrent Neural Networks (ICLR 2016).
    """

    def __init__(self, config: GruConfig, dim: int):
        super().__init__()
        between = config.dropout if config.layers > 1 else 0.0
        self.gru = nn.GRU(dim, config.hidden_dim, config.layers, batch_first=True, dropout=between)
        self.out = nn.Linear(config.hidden_dim, dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: torch.Tensor, rows: TokenRows) -> torch.Tensor:
        """Return outputs of the same shape as the tokens."""
        return self.out(self.dropout(rows.unpad(self.gru(rows.pad(tokens))[0])))


class ConvEncoder(nn.Module):
    """Residual blocks of causal dilated convolutions, each a linear map of a token and earlier ones.

    Source: Yuan et al., A Simple Convolutional Generative Network for Next Item Recommendation (WSDM 2019).
    """

    def __init__(self, config: ConvConfig, dim: int):
        super().__init__()
        self.kernel, self.dilations = config.kernel, config.dilations
        self.norms = nn.ModuleList([nn.LayerNorm(dim) for _ in config.dilations])
        self.convolutions = nn.ModuleList([nn.Linear(config.kernel * dim, dim) for _ in config.dilations])
        self.outs = nn.ModuleList([nn.Linear(dim, dim) for _ in config.dilations])
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: torch.Tensor, rows: TokenRows) -> torch.Tensor:
        """Return outputs of the same shape as the tokens."""
        for dilation, norm, convolution, out in zip(
            self.dilations, self.norms, self.convolutions, self.outs, strict=True
        ):
            normed = norm(tokens)
            seen = torch.cat([rows.shift(normed, tap * dilation) for tap in range(self.kernel)], -1)
            tokens = tokens + self.dropout(out(F.relu(convolution(seen))))
        return tokens
