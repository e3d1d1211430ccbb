"""Drawn negatives and losses of a training step, compared with explicit loops."""

import math

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

from components.shared.features.ragged import Ragged
from components.shared.features.rows import Rows
from components.shared.training.group import Group
from components.train_retriever.batches import Batch
from components.train_retriever.config import SamplingConfig
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
from components.train_retriever.losses.hard_index import Hardest, ItemIndex
from components.train_retriever.losses.objectives import LocalBatch, Negatives, objective
from components.train_retriever.losses.softmax import candidate_softmax
from components.train_retriever.sources import HeldRows

ITEMS, DIM = 30, 5
KNOWN = [[3, 7, 9], [7], [1, 2, 4, 5, 6]]
TARGETS = np.array([3, 9, 7, 7, 5, 1])
"""Two per row."""
SHARES = [(item, 1 / len(row)) for row in KNOWN for item in row]
COUNTS = np.bincount([item for item, _ in SHARES], [share for _, share in SHARES], minlength=ITEMS)


@pytest.fixture(autouse=True)
def group():
    """A process group of one."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def no_hardest(source: Hard) -> Hardest:
    raise AssertionError("only Hard asks")


def ragged(rows: list[list[int]]) -> Ragged:
    return Ragged.mean(
        np.r_[0, np.cumsum([len(row) for row in rows])], np.array([item for row in rows for item in row])
    )


def draw_negatives(loss, at=(0, 0), hardest=no_hardest, **changes) -> Negatives:
    config = SamplingConfig(batch_size=len(KNOWN), targets=2, **{"id_dropout": 0.0, "seed": 1, **changes})
    rows = Rows(np.zeros(3, np.int64), np.zeros(3, np.int64), {}, ragged(KNOWN))
    created = objective(loss, HeldRows(rows, config, slice(None)), ITEMS, config, Group(0, 1, torch.device("cpu")))
    return created.draw(LocalBatch(Batch({}, {}, TARGETS), rows.targets, at, hardest))


class Model:
    """Random vectors of users, target occurrences and drawn items, with the scores between them."""

    def __init__(self, found: Negatives, seed: int = 0):
        random = torch.Generator().manual_seed(seed)
        count = len(TARGETS) + len(found.rows)
        self.rows = [*TARGETS.tolist(), *found.rows.tolist()]
        self.user = torch.randn(len(KNOWN), DIM, generator=random, requires_grad=True)
        self.vectors = torch.randn(count, DIM, generator=random, requires_grad=True)
        self.biases = torch.randn(count, generator=random, requires_grad=True)
        self.loss = found.loss(self.user, self.vectors, self.biases, *found.tensors)

    def score(self, row: int, position: int) -> float:
        return (self.user[row] @ self.vectors[position] + self.biases[position]).item()

    def softmax(self, log_q, candidates) -> float:
        """Mean loss over the tokens; the candidate of an item is its first position."""
        losses = []
        for token, item in enumerate(TARGETS.tolist()):
            row = token // 2
            others = [self.score(row, self.rows.index(one)) - log_q(one) for one in candidates if one not in KNOWN[row]]
            own = self.score(row, token) - log_q(item)
            losses.append(math.log(math.exp(own) + sum(map(math.exp, others))) - own)
        return sum(losses) / len(losses)


def test_full_softmax_excludes_only_other_positives_of_the_row():
    found = draw_negatives(FullSoftmax(bfloat16=False))
    assert found.rows.tolist() == list(range(1, ITEMS)) and not found.dropped.any()
    model = Model(found)
    model.rows = [*[-1] * len(TARGETS), *found.rows.tolist()]
    assert model.loss.item() == pytest.approx(model.softmax(lambda item: 0.0, range(1, ITEMS)), rel=1e-5)


@pytest.mark.parametrize("sources", [
    (InBatch(),), (Uniform(count=12),), (Popularity(count=6, power=1.0),), (InBatch(), Uniform(count=9)),
])  # fmt: skip
def test_sampled_candidates_are_corrected_for_their_sampling_probability(sources):
    found = draw_negatives(SampledSoftmax(sources=sources, bfloat16=False))
    in_batch = isinstance(sources[0], InBatch)
    assert found.rows.tolist() == sorted(set(found.rows.tolist())) and 0 not in found.rows
    assert not in_batch or not set(found.rows.tolist()) & set(TARGETS.tolist()), "targets are there already"

    def log_q(item: int) -> float:
        absent = 1.0
        for source in sources:
            uniform = isinstance(source, Uniform)
            chance = 1 / (ITEMS - 1) if uniform else COUNTS[item] / COUNTS.sum()
            absent *= (1 - chance) ** (len(TARGETS) if isinstance(source, InBatch) else source.count)
        return math.log(max(1 - absent, 1e-12))

    model = Model(found)
    candidates = {*found.rows.tolist(), *(TARGETS.tolist() if in_batch else ())}
    if not in_batch:
        model.rows = [*[-1] * len(TARGETS), *found.rows.tolist()]
    assert model.loss.item() == pytest.approx(model.softmax(log_q, candidates), rel=1e-5)
    gradients = torch.autograd.grad(model.loss, (model.user, model.vectors, model.biases))
    assert all(torch.isfinite(gradient).all() and gradient.abs().sum() > 0 for gradient in gradients)


@pytest.mark.parametrize("source", [Uniform(count=5), Popularity(count=5), InBatch(count=30)])
def test_bpr_negatives_exclude_positives_of_the_row(source):
    found = draw_negatives(Bpr(source=source))
    if isinstance(source, InBatch):
        assert set(found.rows.tolist()) <= set(TARGETS.tolist())
    # One direction per row, so that an item's gradient shows the rows that used it as a negative.
    user, vectors = torch.eye(len(KNOWN), DIM), torch.zeros(len(TARGETS) + len(found.rows), DIM, requires_grad=True)
    (gradient,) = torch.autograd.grad(found.loss(user, vectors, torch.zeros(len(vectors)), *found.tensors), vectors)
    used = [(row, item) for item, pushed in zip(found.rows.tolist(), gradient[len(TARGETS) :], strict=True)
            for row in range(len(KNOWN)) if pushed[row] > 0]  # fmt: skip
    assert {row for row, _ in used} == {0, 1, 2} and not [item for row, item in used if item in KNOWN[row]]
    # The negatives of each token have a total weight of 1, however many were left out.
    assert gradient[len(TARGETS) :].sum(0)[:3].tolist() == pytest.approx([1 / 6] * 3)
    assert gradient[: len(TARGETS)].sum(0)[:3].tolist() == pytest.approx([-1 / 6] * 3)


def test_token_with_only_positives_among_its_draws_has_no_negative_loss():
    known = [[4], [4], [4]]
    config = SamplingConfig(batch_size=3, targets=1, seed=1, id_dropout=0.0)
    rows = Rows(np.zeros(3, np.int64), np.zeros(3, np.int64), {}, ragged(known))
    part = LocalBatch(Batch({}, {}, np.array([4, 4, 4])), rows.targets, (0, 0), no_hardest)
    group = Group(0, 1, torch.device("cpu"))
    user, vector, bias = torch.randn(3, DIM), torch.randn(4, DIM), torch.zeros(4)
    for loss, expected in ((Bpr(source=InBatch()), 0.0), (Bce(source=InBatch()), None)):
        found = objective(loss, HeldRows(rows, config, slice(None)), ITEMS, config, group).draw(part)
        scores = (user * vector[:3]).sum(1)
        expected = F.softplus(-scores).mean().item() if expected is None else expected
        assert found.loss(user, vector, bias, *found.tensors).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("loss", [FullSoftmax(), SampledSoftmax(), Bce()], ids=str)
def test_id_dropout_applies_to_drawn_items(loss):
    dropped = np.concatenate([draw_negatives(loss, (0, step), id_dropout=0.3).dropped for step in range(150)])
    assert dropped.mean() == pytest.approx(0.3, abs=0.05)


def test_draws_depend_on_seed_epoch_and_step_alone():
    loss = Bpr(source=Uniform(count=9))
    one, again = draw_negatives(loss, (2, 5)), draw_negatives(loss, (2, 5))
    np.testing.assert_array_equal(one.rows, again.rows)
    assert Model(one).loss.item() == Model(again).loss.item()
    for other in (draw_negatives(loss, (2, 6)), draw_negatives(loss, (5, 2)), draw_negatives(loss, (2, 5), seed=2)):
        assert len(other.rows) != len(one.rows) or (other.rows != one.rows).any()


def users_and_index(seed: int = 3) -> tuple[torch.Tensor, ItemIndex]:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(3, DIM, generator=random), ItemIndex(
        torch.randn(ITEMS, DIM, generator=random), torch.randn(ITEMS, generator=random)
    )


@pytest.mark.parametrize("scores", [16_000_000, ITEMS])
def test_hardest_items_are_the_highest_scoring_unknown_ones(scores, monkeypatch):
    monkeypatch.setattr("components.train_retriever.losses.hard_index._SCORES", scores)
    user, items = users_and_index()
    found = items.hardest(user, ragged(KNOWN), 6)
    every = (user @ items.vectors.T + items.biases).numpy()
    for row in range(3):
        ranked = [item for item in np.argsort(-every[row]).tolist() if item and item not in KNOWN[row]]
        assert found.items[row].tolist() == sorted(ranked[:6]) and found.sizes[row] == 6


def test_row_with_nearly_all_items_known_has_few_hard_negatives():
    user, items = users_and_index()
    known = [list(range(1, ITEMS - 2)), list(range(1, ITEMS)), [1]]
    found = items.hardest(user, ragged(known), 50)
    assert found.sizes.tolist() == [2, 0, ITEMS - 2] and found.items[0, :2].tolist() == [ITEMS - 2, ITEMS - 1]


def test_hard_negatives_come_from_the_pool_and_are_scored_again():
    user, items = users_and_index()
    requests = []

    def hardest(source: Hard) -> Hardest:
        requests.append(source)
        return items.hardest(user, ragged(KNOWN), source.pool)

    found = draw_negatives(Bpr(source=Hard(count=40, pool=3)), hardest=hardest)
    pools = [set(row.tolist()) for row in items.hardest(user, ragged(KNOWN), 3).items]
    assert requests == [Hard(count=40, pool=3)] and set(found.rows.tolist()) == set.union(*pools)
    model = Model(found)
    losses = []
    for token in range(len(TARGETS)):
        own, row = model.score(token // 2, token), token // 2
        near = [model.score(row, 6 + found.rows.tolist().index(item)) for item in pools[row]]
        losses.append([math.log1p(math.exp(score - own)) for score in near])
    low, high = (sum(map(choose, losses)) / len(losses) for choose in (min, max))
    assert low < model.loss.item() < high


def test_chunked_softmax_matches_the_whole_softmax(monkeypatch):
    def random_inputs():
        random = torch.Generator().manual_seed(0)
        shapes = ((9, DIM), (9, 2), (20, DIM), (20,))
        return [torch.randn(shape, generator=random).requires_grad_() for shape in shapes]

    known = torch.tensor([0, 0, 4, 8]), torch.tensor([1, 2, 3, 19])
    whole, chunked = random_inputs(), random_inputs()
    one = candidate_softmax(*whole, known)
    monkeypatch.setattr("components.train_retriever.losses.softmax._LOGITS", 50)
    other = candidate_softmax(*chunked, known)
    assert other.item() == pytest.approx(one.item(), rel=1e-6)
    for ours, theirs in zip(torch.autograd.grad(other, chunked), torch.autograd.grad(one, whole), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)
