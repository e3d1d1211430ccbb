"""The listwise loss: comparison with torch's cross-entropy, calibration and numerical precision."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from components.train_ranker.losses import listwise_loss


def random_lists(seed: int, lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, soft labels and shopper rows of lists with these lengths."""
    generator = torch.Generator().manual_seed(seed)
    pairs = sum(lengths)
    label = torch.rand(pairs, generator=generator) * (torch.rand(pairs, generator=generator) < 0.4)
    row = torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths))
    return torch.randn(pairs, generator=generator) * 4.0, label, row


@given(st.integers(0, 10_000), st.lists(st.integers(0, 12), min_size=1, max_size=6))
def test_listwise_loss_is_the_cross_entropy_of_log_probabilities_per_list(seed, lengths):
    logits, label, row = random_lists(seed, lengths)
    logits.requires_grad_()
    expected = torch.zeros(())
    for shopper in range(len(lengths)):
        in_list = row == shopper
        if label[in_list].sum() > 0:
            expected = expected + F.cross_entropy(F.logsigmoid(logits[in_list]), label[in_list] / label[in_list].sum())
    found = listwise_loss(F.logsigmoid(logits), label, row, len(lengths))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-5)
    if found.requires_grad and expected.requires_grad:
        gradients = [torch.autograd.grad(loss, logits)[0] for loss in (found, expected)]
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


def test_gradient_is_zero_at_calibrated_probabilities():
    probability = torch.tensor([0.8, 0.1, 0.3, 0.02])
    logits = torch.logit(probability).requires_grad_()
    listwise_loss(F.logsigmoid(logits), probability, torch.tensor([0, 0, 1, 1]), 2).backward()
    assert logits.grad is not None and logits.grad.abs().max() < 1e-6


def test_large_logits_keep_precision():
    logits = torch.tensor([-200.0, -201.0, 200.0]).requires_grad_()
    loss = listwise_loss(F.logsigmoid(logits), torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0, 0, 1]), 2)
    assert loss.item() == pytest.approx(np.log1p(np.exp(-1.0)), rel=1e-5)
    loss.backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()


def test_lists_without_positive_labels_have_no_gradient():
    logits = torch.tensor([1.0, 2.0, 3.0]).requires_grad_()
    listwise_loss(F.logsigmoid(logits), torch.zeros(3), torch.tensor([0, 0, 2]), 3).backward()
    assert logits.grad is not None and not logits.grad.any()
