"""A linear layer whose product runs at full speed whatever its number of inputs.

Products of a width that no vector register divides take up to 1.7 times as long in float32 on CPUs (measured: 383
inputs against 384, forward and backward).
"""

import torch
import torch.nn.functional as F
from torch import nn

_REGISTER = 16
"""float32 values of an AVX-512 register."""


class AlignedLinear(nn.Linear):
    """nn.Linear in weights, names and result; while training on a CPU in float32 zeros fill up its inputs."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """[..., in_features] to [..., out_features]."""
        short = -self.in_features % _REGISTER
        if short and self.training and input.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
            return F.linear(F.pad(input, (0, short)), F.pad(self.weight, (0, short)), self.bias)
        return super().forward(input)
