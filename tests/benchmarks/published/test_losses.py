"""Losses, negatives and optimisers against explicit implementations in plain torch."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from components.train_retriever.losses.config import (
    Bce,
    Bpr,
    FullSoftmax,
    Hard,
    InBatch,
    Popularity,
    SampledSoftmax,
    Uniform,
)
from components.train_retriever.losses.negatives import NegativeSampler
from components.train_retriever.losses.pairs import Vectors, rating_loss
from tests.benchmarks.published.loss_softmax import full_softmax
from tests.benchmarks.published.optimizers import Adam, AdamW, RowWiseAdagradAdam, Sgd, build_optimizers
from tests.benchmarks.published.ranking_loss import negatives_per_token, ranking_loss


def random_vectors(tokens: int, items: int, seed: int = 0, dim: int = 6) -> tuple[Vectors, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    user, item = (torch.randn(count, dim, generator=random).requires_grad_() for count in (tokens, items))
    bias = torch.randn(items, generator=random).requires_grad_()
    return Vectors(user, item, bias), torch.randint(1, items, (tokens,), generator=random)


def sampler(items: int, seed: int = 0) -> NegativeSampler:
    return NegativeSampler(torch.arange(items), seed)


def no_scores() -> torch.Tensor:
    raise AssertionError("only hard negatives need scores")


def gradients(loss: torch.Tensor, vectors: Vectors) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, (vectors.user, vectors.item, vectors.bias)))


@settings(max_examples=20, deadline=None)
@given(tokens=st.integers(1, 9), items=st.integers(2, 40), seed=st.integers(0, 99), scale=st.sampled_from([1, 90]))
def test_chunked_softmax_and_its_gradients_match_cross_entropy(tokens, items, seed, scale):
    vectors, target = random_vectors(tokens, items, seed)
    vectors = Vectors(vectors.user * scale, vectors.item, vectors.bias)
    weight = torch.rand(tokens, generator=torch.Generator().manual_seed(seed)) + 0.1
    ours = full_softmax(vectors.user, vectors.item, vectors.bias, target, weight)
    losses = F.cross_entropy(vectors.user @ vectors.item.T + vectors.bias, target, reduction="none")
    expected = (losses * weight).sum() / weight.sum()
    assert ours.item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-6 * scale)
    for got, right in zip(gradients(ours * 3, vectors), gradients(expected * 3, vectors), strict=True):
        assert torch.allclose(got, right, atol=1e-5 * scale)


def test_loss_does_not_depend_on_the_chunk_size(monkeypatch):
    vectors, target = random_vectors(50, 30)
    whole = full_softmax(vectors.user, vectors.item, vectors.bias, target)
    monkeypatch.setattr("tests.benchmarks.published.loss_softmax._CHUNK_LOGITS", 100)
    cut = full_softmax(vectors.user, vectors.item, vectors.bias, target)
    assert cut.item() == pytest.approx(whole.item(), rel=1e-6)
    for got, right in zip(gradients(cut, vectors), gradients(whole, vectors), strict=True):
        assert torch.allclose(got, right, atol=1e-6)


def test_bfloat16_changes_gradients_by_about_a_percent():
    vectors, target = random_vectors(200, 500, dim=32)
    exact, rough = (
        gradients(full_softmax(vectors.user / 4, vectors.item, vectors.bias, target, None, dtype), vectors)
        for dtype in (torch.float32, torch.bfloat16)
    )
    for one, other in zip(exact, rough, strict=True):
        assert 0 < (one - other).norm() < 0.02 * one.norm()


def test_in_batch_candidates_are_corrected_by_their_log_probability():
    vectors, target = random_vectors(12, 40)
    counts = torch.arange(40)
    config = SampledSoftmax(sources=(InBatch(),), bfloat16=False)
    ours = ranking_loss(config, vectors, target, NegativeSampler(counts, 0))
    rows = sorted(set(target.tolist()))
    log_q = [math.log(1 - (1 - row / counts.sum().item()) ** 12) for row in rows]
    logits = vectors.user @ vectors.item[rows].T + vectors.bias[rows] - torch.tensor(log_q)
    own = torch.tensor([rows.index(row) for row in target.tolist()])
    assert ours.item() == pytest.approx(F.cross_entropy(logits, own).item(), rel=1e-5)


@pytest.mark.parametrize("source", [Uniform(count=6_000), Popularity(count=6_000), Popularity(count=6_000, power=1.0)])
def test_sampled_softmax_approaches_the_full_one_with_many_draws(source):
    vectors, target = random_vectors(300, 60)
    full = ranking_loss(FullSoftmax(bfloat16=False), vectors, target, sampler(60)).item()
    joined = ranking_loss(SampledSoftmax(sources=(source,)), vectors, target, sampler(60)).item()
    # Row 0 is not an item: it is never drawn, but the full softmax includes it.
    without = F.cross_entropy((vectors.user @ vectors.item.T + vectors.bias)[:, 1:], target - 1).item()
    assert joined == pytest.approx(without, rel=1e-4) and joined < full


def test_log_q_correction_gives_an_unbiased_normaliser():
    items, sampling = 400, Popularity(count=40, power=1.0)
    vectors, target = random_vectors(64, items)
    exponents = (vectors.user @ vectors.item.T + vectors.bias).exp().detach()
    expected, draws = exponents[:, 1:].sum(1), sampler(items)
    found = torch.stack([
        (exponents[:, rows] / log_q.exp()).sum(1)
        for rows, log_q in (draws.shared((sampling,), target) for _ in range(3_000))
    ]).mean(0)  # fmt: skip
    assert torch.allclose(found, expected, rtol=0.35)
    assert (found / expected).mean().item() == pytest.approx(1.0, abs=0.03)


def test_bpr_and_bce_match_their_formulas():
    vectors, target = random_vectors(7, 20)
    source = Uniform(count=3)
    rows = negatives_per_token(sampler(20, 5), source, target, no_scores)
    positive, negative = vectors.scores(target), vectors.scores(rows)
    bpr = ranking_loss(Bpr(source=source), vectors, target, sampler(20, 5))
    bce = ranking_loss(Bce(source=source), vectors, target, sampler(20, 5))
    difference = torch.sigmoid(positive.unsqueeze(1) - negative)
    assert bpr.item() == pytest.approx(-difference.log().mean().item(), rel=1e-5)
    expected = -torch.sigmoid(positive).log().mean() - torch.sigmoid(-negative).log().mean()
    assert bce.item() == pytest.approx(expected.item(), rel=1e-5)
    score = vectors.user[2] @ vectors.item[rows[2, 1]] + vectors.bias[rows[2, 1]]
    assert negative[2, 1].item() == pytest.approx(score.item(), rel=1e-5)


def test_losses_normalise_only_the_rows_they_need():
    vectors, target = random_vectors(7, 500)
    row_counts = []

    def normalise(item: torch.Tensor) -> torch.Tensor:
        row_counts.append(item.numel() // item.shape[-1])
        return F.normalize(item, dim=-1)

    lazy = Vectors(vectors.user, vectors.item, vectors.bias, normalise)
    whole = Vectors(vectors.user, F.normalize(vectors.item, dim=-1), vectors.bias)
    for config in (Bce(), Bpr(source=Hard()), FullSoftmax(), SampledSoftmax(sources=(InBatch(), Uniform(count=9)))):
        ours, expected = (ranking_loss(config, given, target, sampler(500, 2)).item() for given in (lazy, whole))
        assert ours == pytest.approx(expected, rel=1e-5)
    assert row_counts[:2] == [7, 7] and max(row_counts[-1:]) <= 16


def test_rating_loss_is_the_squared_error_around_the_mean():
    vectors, rated = random_vectors(5, 9)
    rating = torch.tensor([1.0, 5.0, 3.0, 2.0, 4.0])
    expected = ((vectors.user * vectors.item[rated]).sum(1) + vectors.bias[rated] + 3.0 - rating).square().mean()
    assert rating_loss(vectors, rated, rating, 3.0).item() == pytest.approx(expected.item(), rel=1e-5)


def test_draws_follow_the_distribution_of_their_source():
    counts = torch.tensor([0, 1, 3, 0, 12])
    draws = NegativeSampler(counts, 1)
    target = torch.tensor([2] * 4_000)
    for source, expected in (
        (Uniform(), [0, 1, 0, 1, 1]), (Popularity(power=1.0), [0, 1, 0, 0, 12]),
        (Popularity(power=0.5), [0, 1, 0, 0, 12**0.5]),
    ):  # fmt: skip
        rows = negatives_per_token(draws, source, target, no_scores).flatten()
        # A draw equal to the target is drawn again once, so some of them remain.
        seen = torch.bincount(rows, minlength=5).double()
        seen[2] = 0
        share = torch.tensor(expected, dtype=torch.float64)
        assert torch.allclose(seen / seen.sum(), share / share.sum(), atol=0.03), source


def test_hard_negatives_are_the_top_ranked_items_except_the_target():
    vectors, target = random_vectors(6, 30)
    scores = (vectors.user @ vectors.item.T + vectors.bias).detach()
    rows = negatives_per_token(sampler(30), Hard(count=8, pool=5), target, scores.clone)
    for token in range(6):
        ranked = [row for row in scores[token].argsort(descending=True).tolist() if row not in (0, int(target[token]))]
        assert set(rows[token].tolist()) <= set(ranked[:5])


def test_same_seed_draws_the_same_negatives():
    vectors, target = random_vectors(20, 50)
    losses = [ranking_loss(Bpr(), vectors, target, sampler(50, seed)).item() for seed in (3, 3, 4)]
    assert losses[0] == losses[1] != losses[2]


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table, self.out = nn.Embedding(6, 4), nn.Linear(4, 1)

    def forward(self, rows):
        return self.out(self.table(rows)).square().mean()


@pytest.mark.parametrize(
    "choice", [Sgd(momentum=0.5), Adam(lr=0.05), AdamW(lr=0.05), RowWiseAdagradAdam(dense_lr=0.05)]
)
def test_every_optimiser_updates_every_parameter_and_lowers_the_loss(choice):
    model, rows = Model(), torch.arange(6)
    before, start = [parameter.clone() for parameter in model.parameters()], model(rows).item()
    optimizers = build_optimizers(choice, model)
    for _ in range(30):
        for optimizer in optimizers:
            optimizer.zero_grad()
        model(rows).backward()
        for optimizer in optimizers:
            optimizer.step()
    assert model(rows).item() < 0.5 * start
    assert all(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_row_wise_adagrad_keeps_one_number_per_row():
    model = Model()
    table, dense = build_optimizers(RowWiseAdagradAdam(embedding_lr=0.1), model)
    model(torch.tensor([1, 2])).backward()
    gradient, old = model.table.weight.grad.clone(), model.table.weight.detach().clone()
    table.step()
    step = 0.1 * gradient / (gradient.square().mean(1, keepdim=True).sqrt() + 1e-10)
    assert torch.allclose(model.table.weight, old - step, atol=1e-6)
    assert sum(len(group["params"]) for group in dense.param_groups) == 2
