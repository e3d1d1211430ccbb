"""What a step draws and the loss that comes of it, against loops that spell them out."""

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
"""Two of each row."""
SHARES = [(item, 1 / len(row)) for row in KNOWN for item in row]
COUNTS = np.bincount([item for item, _ in SHARES], [share for _, share in SHARES], minlength=ITEMS)


@pytest.fixture(autouse=True)
def group():
    """A process group of one."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def unasked(source: Hard) -> Hardest:
    raise AssertionError("only Hard asks")


def ragged(rows: list[list[int]]) -> Ragged:
    return Ragged.mean(
        np.r_[0, np.cumsum([len(row) for row in rows])], np.array([item for row in rows for item in row])
    )


def drawn(loss, at=(0, 0), hardest=unasked, **changes) -> Negatives:
    config = SamplingConfig(batch_size=len(KNOWN), targets=2, **{"id_dropout": 0.0, "seed": 1, **changes})
    rows = Rows(np.zeros(3, np.int64), np.zeros(3, np.int64), {}, ragged(KNOWN))
    made = objective(loss, HeldRows(rows, config, slice(None)), ITEMS, config, Group(0, 1, torch.device("cpu")))
    return made.draw(LocalBatch(Batch({}, {}, TARGETS), rows.targets, at, hardest))


class Model:
    """Random vectors of the users, of each target's occurrence and of each drawn item, and all of their scores."""

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
        """Mean loss of the tokens; an item's candidate is the first position that has it."""
        losses = []
        for token, item in enumerate(TARGETS.tolist()):
            row = token // 2
            others = [self.score(row, self.rows.index(one)) - log_q(one) for one in candidates if one not in KNOWN[row]]
            own = self.score(row, token) - log_q(item)
            losses.append(math.log(math.exp(own) + sum(map(math.exp, others))) - own)
        return sum(losses) / len(losses)


def test_a_full_softmax_is_over_all_items_but_the_rows_other_positives():
    found = drawn(FullSoftmax(bfloat16=False))
    assert found.rows.tolist() == list(range(1, ITEMS)) and not found.dropped.any()
    model = Model(found)
    model.rows = [*[-1] * len(TARGETS), *found.rows.tolist()]
    assert model.loss.item() == pytest.approx(model.softmax(lambda item: 0.0, range(1, ITEMS)), rel=1e-5)


@pytest.mark.parametrize("sources", [
    (InBatch(),), (Uniform(count=12),), (Popularity(count=6, power=1.0),), (InBatch(), Uniform(count=9)),
])  # fmt: skip
def test_sampled_candidates_are_taken_down_by_how_surely_they_are_drawn(sources):
    found = drawn(SampledSoftmax(sources=sources, bfloat16=False))
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
def test_pairs_are_against_draws_that_are_no_positives_of_the_row(source):
    found = drawn(Bpr(source=source))
    if isinstance(source, InBatch):
        assert set(found.rows.tolist()) <= set(TARGETS.tolist())
    # One direction a row, so that an item's gradient tells which rows it was a negative of.
    user, vectors = torch.eye(len(KNOWN), DIM), torch.zeros(len(TARGETS) + len(found.rows), DIM, requires_grad=True)
    (gradient,) = torch.autograd.grad(found.loss(user, vectors, torch.zeros(len(vectors)), *found.tensors), vectors)
    used = [(row, item) for item, pushed in zip(found.rows.tolist(), gradient[len(TARGETS) :], strict=True)
            for row in range(len(KNOWN)) if pushed[row] > 0]  # fmt: skip
    assert {row for row, _ in used} == {0, 1, 2} and not [item for row, item in used if item in KNOWN[row]]
    # Each token's negatives count 1 together, whatever was left out.
    assert gradient[len(TARGETS) :].sum(0)[:3].tolist() == pytest.approx([1 / 6] * 3)
    assert gradient[: len(TARGETS)].sum(0)[:3].tolist() == pytest.approx([-1 / 6] * 3)


def test_a_token_whose_every_draw_is_its_own_loses_nothing_by_them():
    alone = [[4], [4], [4]]
    config = SamplingConfig(batch_size=3, targets=1, seed=1, id_dropout=0.0)
    rows = Rows(np.zeros(3, np.int64), np.zeros(3, np.int64), {}, ragged(alone))
    part = LocalBatch(Batch({}, {}, np.array([4, 4, 4])), rows.targets, (0, 0), unasked)
    group = Group(0, 1, torch.device("cpu"))
    user, vector, bias = torch.randn(3, DIM), torch.randn(4, DIM), torch.zeros(4)
    for loss, wanted in ((Bpr(source=InBatch()), 0.0), (Bce(source=InBatch()), None)):
        found = objective(loss, HeldRows(rows, config, slice(None)), ITEMS, config, group).draw(part)
        scores = (user * vector[:3]).sum(1)
        wanted = F.softplus(-scores).mean().item() if wanted is None else wanted
        assert found.loss(user, vector, bias, *found.tensors).item() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("loss", [FullSoftmax(), SampledSoftmax(), Bce()], ids=str)
def test_drawn_items_lose_their_ids_as_often_as_targets(loss):
    dropped = np.concatenate([drawn(loss, (0, step), id_dropout=0.3).dropped for step in range(150)])
    assert dropped.mean() == pytest.approx(0.3, abs=0.05)


def test_draws_follow_from_epoch_and_step_alone():
    loss = Bpr(source=Uniform(count=9))
    one, again = drawn(loss, (2, 5)), drawn(loss, (2, 5))
    np.testing.assert_array_equal(one.rows, again.rows)
    assert Model(one).loss.item() == Model(again).loss.item()
    for other in (drawn(loss, (2, 6)), drawn(loss, (5, 2)), drawn(loss, (2, 5), seed=2)):
        assert len(other.rows) != len(one.rows) or (other.rows != one.rows).any()


def index(seed: int = 3) -> tuple[torch.Tensor, ItemIndex]:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(3, DIM, generator=random), ItemIndex(
        torch.randn(ITEMS, DIM, generator=random), torch.randn(ITEMS, generator=random)
    )


@pytest.mark.parametrize("scores", [16_000_000, ITEMS])
def test_the_hardest_are_the_items_of_the_highest_scores_without_the_known(scores, monkeypatch):
    monkeypatch.setattr("components.train_retriever.losses.hard_index._SCORES", scores)
    user, items = index()
    found = items.hardest(user, ragged(KNOWN), 6)
    every = (user @ items.vectors.T + items.biases).numpy()
    for row in range(3):
        ranked = [item for item in np.argsort(-every[row]).tolist() if item and item not in KNOWN[row]]
        assert found.items[row].tolist() == sorted(ranked[:6]) and found.sizes[row] == 6


def test_a_row_that_knows_nearly_all_items_has_few_hard_ones():
    user, items = index()
    known = [list(range(1, ITEMS - 2)), list(range(1, ITEMS)), [1]]
    found = items.hardest(user, ragged(known), 50)
    assert found.sizes.tolist() == [2, 0, ITEMS - 2] and found.items[0, :2].tolist() == [ITEMS - 2, ITEMS - 1]


def test_hard_negatives_come_from_the_pool_and_are_scored_anew():
    user, items = index()
    asked = []

    def hardest(source: Hard) -> Hardest:
        asked.append(source)
        return items.hardest(user, ragged(KNOWN), source.pool)

    found = drawn(Bpr(source=Hard(count=40, pool=3)), hardest=hardest)
    pools = [set(row.tolist()) for row in items.hardest(user, ragged(KNOWN), 3).items]
    assert asked == [Hard(count=40, pool=3)] and set(found.rows.tolist()) == set.union(*pools)
    model = Model(found)
    losses = []
    for token in range(len(TARGETS)):
        own, row = model.score(token // 2, token), token // 2
        near = [model.score(row, 6 + found.rows.tolist().index(item)) for item in pools[row]]
        losses.append([math.log1p(math.exp(score - own)) for score in near])
    low, high = (sum(map(choose, losses)) / len(losses) for choose in (min, max))
    assert low < model.loss.item() < high


def test_many_parts_are_one_softmax(monkeypatch):
    def made():
        random = torch.Generator().manual_seed(0)
        shapes = ((9, DIM), (9, 2), (20, DIM), (20,))
        return [torch.randn(shape, generator=random).requires_grad_() for shape in shapes]

    known = torch.tensor([0, 0, 4, 8]), torch.tensor([1, 2, 3, 19])
    whole, cut = made(), made()
    one = candidate_softmax(*whole, known)
    monkeypatch.setattr("components.train_retriever.losses.softmax._LOGITS", 50)
    other = candidate_softmax(*cut, known)
    assert other.item() == pytest.approx(one.item(), rel=1e-6)
    for ours, theirs in zip(torch.autograd.grad(other, cut), torch.autograd.grad(one, whole), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)
