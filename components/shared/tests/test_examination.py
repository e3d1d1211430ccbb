"""Clicks with a known position bias: the examination probabilities and the true ranking are recovered."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import nn

from components.shared.models.examination import NOT_SHOWN, UNKNOWN, Examination, click_loss

POSITIONS = 6
EXAMINED = 1.0 / np.arange(1, POSITIONS + 1) ** 0.8


def clicks(seed, answers=4_000, items=60):
    """Return (item, position, click, relevance) of a shop with the wrong items on top, where shoppers mostly look."""
    random = np.random.default_rng(seed)
    relevance = random.uniform(0.05, 0.8, items)
    habit = -relevance + random.normal(0, 0.3, items)
    chosen = np.argsort(random.random((answers, items)), 1)[:, :POSITIONS]
    order = np.argsort(-(habit[chosen] + random.normal(0, 0.5, chosen.shape)), 1)
    item = np.take_along_axis(chosen, order, 1).ravel()
    position = np.tile(np.arange(1, POSITIONS + 1), answers)
    clicked = random.random(len(item)) < EXAMINED[position - 1] * relevance[item]
    return item, position, clicked, relevance


def learned(item, position, clicked, items=60):
    """Return the learned relevance of each item and examination probability of each position."""
    score, examination = nn.Embedding(items, 1), Examination(POSITIONS)
    nn.init.zeros_(score.weight)
    optimizer = torch.optim.Adam([*score.parameters(), *examination.parameters()], lr=0.05)
    item, position, label = torch.from_numpy(item), torch.from_numpy(position), torch.from_numpy(clicked).float()
    for _ in range(200):
        optimizer.zero_grad()
        (click_loss(score(item)[:, 0], examination(position), label) / len(item)).backward()
        optimizer.step()
    return torch.sigmoid(score.weight[:, 0]).detach().numpy(), examination.probabilities().detach().numpy()


def test_examination_and_relevance_are_recovered_from_biased_clicks():
    naive, fair = [], []
    for seed in range(3):
        item, position, clicked, relevance = clicks(seed)
        found, examined = learned(item, position, clicked)
        blind, _ = learned(item, np.zeros_like(position), clicked)
        np.testing.assert_allclose(examined, EXAMINED, atol=0.08)
        np.testing.assert_allclose(found, relevance, atol=0.2)
        fair.append(spearmanr(found, relevance).statistic)
        naive.append(spearmanr(blind, relevance).statistic)
    assert np.mean(fair) > 0.97
    assert np.mean(naive) < np.mean(fair) - 0.05, "without positions the shop's habit is learned as relevance"


def test_loss_without_positions_is_binary_cross_entropy():
    logit, label = torch.randn(50) * 5, torch.rand(50)
    expected = F.binary_cross_entropy_with_logits(logit, label, reduction="sum")
    torch.testing.assert_close(click_loss(logit, torch.zeros(50), label), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("logit", [-40.0, -1e-3, 0.0, 1e-3, 40.0])
def test_loss_and_gradient_are_finite_everywhere(logit):
    for examined in (0.0, -1e-6, -30.0):
        value = torch.tensor([logit], requires_grad=True)
        loss = click_loss(value, torch.tensor([examined]), torch.tensor([0.0]))
        loss.backward()
        assert torch.isfinite(loss) and value.grad is not None and torch.isfinite(value.grad).all()


def test_positions_beyond_the_last_share_its_probability():
    examination = Examination(3)
    with torch.no_grad():
        examination.logits.copy_(torch.tensor([1.0, -1.0]))
    found = examination(torch.tensor([UNKNOWN, 1, 2, 3, 4, 99])).exp()
    torch.testing.assert_close(found[:2], torch.ones(2))
    assert found[3] == found[4] == found[5] < found[2] < 1


def test_items_not_shown_have_a_separate_probability():
    examination = Examination(1)
    with torch.no_grad():
        examination.not_shown.fill_(-2.0)
    found = examination(torch.tensor([NOT_SHOWN, UNKNOWN, 1, 2])).exp()
    torch.testing.assert_close(found, torch.tensor([torch.tensor(-2.0).sigmoid().item(), 1.0, 1.0, 1.0]))
