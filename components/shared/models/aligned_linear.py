"""A linear layer that runs at full speed for any number of inputs.

Products whose width is not a multiple of the vector register take up to 1.7 times as long in float32 on CPUs (measured:
383 inputs against 384, forward and backward).
"""

import torch
import torch.nn.functional as F
from torch import nn

_REGISTER = 16
"""Number of float32 values in an AVX-512 register."""


class AlignedLinear(nn.Linear):
    """nn.Linear with the same weights, names and result; pads its inputs with zeros in float32 training on a CPU."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Map [..., in_features] to [..., out_features]."""
        short = -self.in_features % _REGISTER
        if short and self.training and input.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
            return F.linear(F.pad(input, (0, short)), F.pad(self.weight, (0, short)), self.bias)
        return super().forward(input)
