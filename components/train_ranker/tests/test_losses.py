"""The loss over each shopper's list, against torch's own cross-entropy and by what it is made for."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from components.train_ranker.losses import listwise_loss


def drawn(seed: int, lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, softened labels and shoppers of lists of these lengths."""
    generator = torch.Generator().manual_seed(seed)
    pairs = sum(lengths)
    label = torch.rand(pairs, generator=generator) * (torch.rand(pairs, generator=generator) < 0.4)
    row = torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths))
    return torch.randn(pairs, generator=generator) * 4.0, label, row


@given(st.integers(0, 10_000), st.lists(st.integers(0, 12), min_size=1, max_size=6))
def test_it_is_the_cross_entropy_of_each_list_with_log_probabilities_for_logits(seed, lengths):
    logits, label, row = drawn(seed, lengths)
    logits.requires_grad_()
    expected = torch.zeros(())
    for shopper in range(len(lengths)):
        mine = row == shopper
        if label[mine].sum() > 0:
            expected = expected + F.cross_entropy(F.logsigmoid(logits[mine]), label[mine] / label[mine].sum())
    found = listwise_loss(F.logsigmoid(logits), label, row, len(lengths))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-5)
    if found.requires_grad and expected.requires_grad:
        gradients = [torch.autograd.grad(loss, logits)[0] for loss in (found, expected)]
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


def test_true_probabilities_are_where_it_is_least_so_that_it_does_not_speak_against_calibration():
    chance = torch.tensor([0.8, 0.1, 0.3, 0.02])
    logits = torch.logit(chance).requires_grad_()
    listwise_loss(F.logsigmoid(logits), chance, torch.tensor([0, 0, 1, 1]), 2).backward()
    assert logits.grad is not None and logits.grad.abs().max() < 1e-6


def test_a_logit_far_from_zero_costs_no_precision():
    logits = torch.tensor([-200.0, -201.0, 200.0]).requires_grad_()
    loss = listwise_loss(F.logsigmoid(logits), torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0, 0, 1]), 2)
    assert loss.item() == pytest.approx(np.log1p(np.exp(-1.0)), rel=1e-5)
    loss.backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()


def test_who_wanted_nothing_teaches_nothing():
    logits = torch.tensor([1.0, 2.0, 3.0]).requires_grad_()
    listwise_loss(F.logsigmoid(logits), torch.zeros(3), torch.tensor([0, 0, 2]), 3).backward()
    assert logits.grad is not None and not logits.grad.any()
