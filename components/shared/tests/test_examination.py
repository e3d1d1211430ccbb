"""Clicks of known bias: examination is recovered, and the ranking learned with it is the true one."""

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
    """(item, position, click, wanted): a shop that puts the wrong items on top, and shoppers who mostly look there."""
    random = np.random.default_rng(seed)
    wanted = random.uniform(0.05, 0.8, items)
    habit = -wanted + random.normal(0, 0.3, items)
    chosen = np.argsort(random.random((answers, items)), 1)[:, :POSITIONS]
    order = np.argsort(-(habit[chosen] + random.normal(0, 0.5, chosen.shape)), 1)
    item = np.take_along_axis(chosen, order, 1).ravel()
    position = np.tile(np.arange(1, POSITIONS + 1), answers)
    clicked = random.random(len(item)) < EXAMINED[position - 1] * wanted[item]
    return item, position, clicked, wanted


def learned(item, position, clicked, items=60):
    """Probability that each item is wanted, and of each position to be examined."""
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
        item, position, clicked, wanted = clicks(seed)
        found, examined = learned(item, position, clicked)
        blind, _ = learned(item, np.zeros_like(position), clicked)
        np.testing.assert_allclose(examined, EXAMINED, atol=0.08)
        np.testing.assert_allclose(found, wanted, atol=0.2)
        fair.append(spearmanr(found, wanted).statistic)
        naive.append(spearmanr(blind, wanted).statistic)
    assert np.mean(fair) > 0.97
    assert np.mean(naive) < np.mean(fair) - 0.05, "without positions the shop's habit is learned as relevance"


def test_without_a_place_the_loss_is_the_usual_one():
    logit, label = torch.randn(50) * 5, torch.rand(50)
    expected = F.binary_cross_entropy_with_logits(logit, label, reduction="sum")
    torch.testing.assert_close(click_loss(logit, torch.zeros(50), label), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("logit", [-40.0, -1e-3, 0.0, 1e-3, 40.0])
def test_the_loss_and_its_gradient_are_finite_everywhere(logit):
    for examined in (0.0, -1e-6, -30.0):
        value = torch.tensor([logit], requires_grad=True)
        loss = click_loss(value, torch.tensor([examined]), torch.tensor([0.0]))
        loss.backward()
        assert torch.isfinite(loss) and value.grad is not None and torch.isfinite(value.grad).all()


def test_places_beyond_the_last_share_its_probability():
    examination = Examination(3)
    with torch.no_grad():
        examination.logits.copy_(torch.tensor([1.0, -1.0]))
    found = examination(torch.tensor([UNKNOWN, 1, 2, 3, 4, 99])).exp()
    torch.testing.assert_close(found[:2], torch.ones(2))
    assert found[3] == found[4] == found[5] < found[2] < 1


def test_what_was_not_shown_has_a_probability_of_its_own():
    examination = Examination(1)
    with torch.no_grad():
        examination.not_shown.fill_(-2.0)
    found = examination(torch.tensor([NOT_SHOWN, UNKNOWN, 1, 2])).exp()
    torch.testing.assert_close(found, torch.tensor([torch.tensor(-2.0).sigmoid().item(), 1.0, 1.0, 1.0]))
