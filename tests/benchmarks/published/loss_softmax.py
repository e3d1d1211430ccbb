"""Softmax cross-entropy over many items without holding all logits: chunks of tokens, gradients in the forward pass.

Source of the idea: Wijmans et al., Cut Your Losses in Large-Vocabulary Language Models (ICLR 2025).
"""

import math
from typing import Any

import torch

_CHUNK_LOGITS = 32_000_000
"""Logits in memory at a time, 64 MB as bfloat16; smaller chunks accumulate the item gradients more often."""

_SAFE_LOGIT = 60.0
"""Up to this value sums of exponentials neither overflow nor vanish in bfloat16 or float32; no maximum is needed."""


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Weighted mean of -log softmax(user . items + bias)[target]; the gradients are computed along with the loss."""

    @staticmethod
    def forward(
        ctx: Any, user_ND: torch.Tensor, item_ID: torch.Tensor, bias_I: torch.Tensor, target_N: torch.Tensor,
        weight_N: torch.Tensor, dtype: torch.dtype,
    ) -> torch.Tensor:  # fmt: skip
        """Return the loss, and save the gradients of user, item and bias."""
        users, items, biases = user_ND.to(dtype), item_ID.to(dtype), bias_I.to(dtype)
        ones = items.new_ones(1, len(user_ND))
        grad_user, grad_item = torch.empty_like(user_ND), torch.zeros_like(item_ID)
        grad_bias, losses = torch.zeros_like(bias_I), torch.empty_like(weight_N)
        positive = (user_ND * item_ID.index_select(0, target_N)).sum(1) + bias_I.index_select(0, target_N)
        biased = bool(bias_I.any()) or ctx.needs_input_grad[2]
        lengths = (vectors.norm(dim=1).max() for vectors in (user_ND, item_ID))
        small = float(math.prod(lengths) + bias_I.abs().max()) < _SAFE_LOGIT
        size = max(1, _CHUNK_LOGITS // len(item_ID))
        for start in range(0, len(user_ND), size):
            part = slice(start, start + size)
            logits = users[part] @ items.T
            if biased:
                logits += biases
            shift = None if small else logits.amax(1, keepdim=True)
            exponents = (logits if shift is None else logits.sub_(shift)).exp_()
            total = exponents.sum(1, dtype=user_ND.dtype)
            losses[part] = total.log() - positive[part]
            if shift is not None:
                losses[part] += shift.squeeze(1)
            scale = (weight_N[part] / total).unsqueeze(1)
            # The division by the softmax's total is applied to the narrow side of each product.
            grad_user[part] = (exponents @ items).to(user_ND.dtype) * scale
            grad_item += exponents.T @ (user_ND[part] * scale).to(dtype)
            if biased:
                grad_bias += ((ones[:, : len(exponents)] * scale.T.to(dtype)) @ exponents).squeeze(0)
        grad_user -= item_ID.index_select(0, target_N) * weight_N.unsqueeze(1)
        grad_item.index_add_(0, target_N, user_ND * weight_N.unsqueeze(1), alpha=-1.0)
        grad_bias.index_add_(0, target_N, weight_N, alpha=-1.0)
        ctx.save_for_backward(grad_user, grad_item, grad_bias)
        return losses @ weight_N

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Scale the gradients saved by forward."""
        (grad,) = grad_outputs
        user, item, bias = ctx.saved_tensors
        return user * grad, item * grad, bias * grad if ctx.needs_input_grad[2] else None, None, None, None


def full_softmax(
    user_ND: torch.Tensor, item_ID: torch.Tensor, bias_I: torch.Tensor, target_N: torch.Tensor,
    weight_N: torch.Tensor | None = None, dtype: torch.dtype = torch.float32,
) -> torch.Tensor:  # fmt: skip
    """Cross-entropy of each token's target against every item.

    Args:
        user_ND: User vectors.
        item_ID: Item vectors.
        bias_I: Item biases, or log-Q corrections of them.
        target_N: int64, the target item of each user vector.
        weight_N: Weight of each token; equal by default.
        dtype: Type of the large products; bfloat16 is three times faster on CPUs with AVX-512 BF16 and changes
            gradients by less than a percent. Everything about the target stays in the vectors' own type.

    Returns:
        Scalar: weighted mean over the tokens.
    """
    weight_N = torch.ones_like(user_ND[:, 0]) if weight_N is None else weight_N
    share_N = weight_N.detach() / weight_N.sum()
    loss = _ChunkedCrossEntropy.apply(user_ND, item_ID, bias_I, target_N, share_N, dtype)
    assert isinstance(loss, torch.Tensor)
    return loss
