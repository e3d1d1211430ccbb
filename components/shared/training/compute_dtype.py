"""Compute dtype of dense layers during training: float32 or bfloat16."""

import contextlib

import torch

from components.shared.errors import InputError
from components.shared.training.optimizer import ComputeDtype


def autocast(compute_dtype: ComputeDtype, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Return the context for a training step's forward pass; backward passes use the same dtypes.

    bfloat16 has the range of float32 and 8 bits of precision, so the loss needs no scaling. It halves the time of
    products on CPUs that have the instructions (measured: `python -m tests.benchmarks.throughput`).

    Raises:
        InputError: the device has no bfloat16 instructions and would be slower than with float32.
    """
    if compute_dtype == "float32":
        return contextlib.nullcontext()
    if not multiplies_bfloat16(device):
        raise InputError(f"compute_dtype is 'bfloat16', which is not supported by this {device.type} device",
                         "use float32, a CPU with AVX-512 BF16 or AMX, or a GPU of compute capability 8")  # fmt: skip
    return torch.autocast(device.type, torch.bfloat16)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Return whether the device has instructions for bfloat16 products."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
