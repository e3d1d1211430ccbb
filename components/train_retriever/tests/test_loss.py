"""The sampled softmax compared with an explicit loop."""

import math

import pytest
import torch
import torch.distributed as dist

from components.train_retriever.losses.softmax import sampled_softmax


@pytest.fixture(autouse=True)
def group():
    """A process group of one."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def reference_loss(user, item, bias, ids, log_q) -> float:
    rows, each = len(user), len(ids) // len(user)
    losses = []
    for row in range(rows):
        logits = [(user[row] @ item[n]).item() + float(bias[n]) - float(log_q[n]) for n in range(len(ids))]
        own = range(row * each, (row + 1) * each)
        others = [logits[n] for n in range(len(ids)) if int(ids[n]) not in {int(ids[m]) for m in own}]
        for n in own:
            losses.append(-math.log(math.exp(logits[n]) / (math.exp(logits[n]) + sum(map(math.exp, others)))))
    return sum(losses) / len(losses)


def random_batch(rows: int, each: int, catalog: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, catalog, (rows * each,), generator=generator)
    return (
        torch.randn(rows, 6, generator=generator, requires_grad=True),
        torch.randn(rows * each, 6, generator=generator, requires_grad=True),
        torch.randn(rows * each, generator=generator), ids,
        torch.log(torch.rand(catalog, generator=generator))[ids],
    )  # fmt: skip


@pytest.mark.parametrize(("rows", "each", "catalog"), [(8, 1, 1000), (6, 4, 9), (5, 3, 2000), (1, 2, 50)])
def test_the_loss_is_the_cross_entropy_of_each_target_against_the_batch(rows, each, catalog):
    batch = random_batch(rows, each, catalog, seed=rows)
    assert sampled_softmax(*batch).item() == pytest.approx(reference_loss(*batch), rel=1e-5, abs=1e-6)


def test_equal_items_are_not_negatives_of_each_other():
    user, item, bias, _, log_q = random_batch(4, 2, 100, seed=1)
    ids = torch.full((8,), 7)
    loss = sampled_softmax(user, item, bias, ids, log_q)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert torch.isfinite(user.grad).all() and torch.isfinite(item.grad).all()


def test_logits_are_corrected_for_item_popularity():
    user, item, bias, ids, _ = random_batch(1, 1, 1000, seed=3)
    user = torch.cat([user, user]).detach()
    item, bias, ids = torch.cat([item, item]).detach(), torch.cat([bias, bias]), torch.tensor([1, 2])
    rare, popular = torch.log(torch.tensor([1e-3, 1e-3])), torch.log(torch.tensor([1e-3, 0.5]))
    assert sampled_softmax(user, item, bias, ids, rare).item() == pytest.approx(math.log(2), rel=1e-5)
    # Two identical users and items: the first's negative is now 500 times weaker, and so is the second's target.
    expected = (math.log(1 + 1 / 500) + math.log(1 + 500)) / 2
    assert sampled_softmax(user, item, bias, ids, popular).item() == pytest.approx(expected, rel=1e-4)


def test_training_on_the_loss_ranks_each_users_own_item_first():
    torch.manual_seed(0)
    user, item = torch.randn(16, 8, requires_grad=True), torch.randn(16, 8, requires_grad=True)
    ids, log_q, bias = torch.arange(16), torch.full((16,), math.log(1 / 16)), torch.zeros(16)
    optimizer = torch.optim.Adam([user, item], lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        sampled_softmax(user, item, bias, ids, log_q).backward()
        optimizer.step()
    assert ((user @ item.T).argmax(1) == ids).all()
