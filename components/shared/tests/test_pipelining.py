"""Overlapping steps have the same results as sequential ones, and really send ids ahead."""

import threading
from dataclasses import dataclass

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed._shard.sharded_tensor import ShardedTensor
from torchrec import KeyedJaggedTensor, KeyedTensor
from torchrec.distributed.train_pipeline.runtime_forwards import PipelinedForward

from components.shared.features.spec import SparseFeature
from components.shared.models.retriever import embedding_bags
from components.shared.training.group import Group
from components.shared.training.optimizer import OptimizerConfig
from components.shared.training.pipelining import Losses, StepBatch, Steps, UntracedCall, prefetch
from components.shared.training.sharding import distribute

STEPS, ROWS = 5, 16
FEATURE = SparseFeature(name="item", rows=50, max_length=1)


@dataclass(frozen=True, kw_only=True)
class Clicks(StepBatch):
    """Rows of one id and two numbers."""

    ids: KeyedJaggedTensor
    numbers: tuple[torch.Tensor, ...]
    name: str


class Model(nn.Module):
    """A table and a layer whose forward cannot be traced."""

    def __init__(self):
        super().__init__()
        self.bags = embedding_bags((FEATURE,), 8, torch.device("meta"))
        self.layer = nn.Linear(8, 1)
        self.rest = UntracedCall(self._rest)

    def forward(self, batch: Clicks) -> torch.Tensor:
        return self.rest(self.bags(batch.ids), batch)

    def _rest(self, bags: KeyedTensor, batch: Clicks) -> torch.Tensor:
        values = nn.functional.dropout(bags.values(), 0.2, self.training)
        return self.layer(values)[:, 0] if float(values.detach().sum()) < 1e9 else values[:, 0]


class Training:
    """Training on batches generated from epoch and step."""

    def __init__(self, overlap: bool):
        torch.manual_seed(0)
        self.group = Group(0, 1, torch.device("cpu"))
        self.model, self.optimizer = distribute(Model(), self.group, OptimizerConfig(embedding_lr=0.1, seed=3))
        self.steps: Steps[Clicks, Clicks] = Steps(self.model, self.optimizer, self, self.group.device, overlap)
        self.readers: set[int] = set()
        self.made_after: list[tuple[str, int]] = []
        self.done = 0

    def steps_per_epoch(self) -> int:
        return STEPS

    def read(self, epoch: int, at: int) -> Clicks:
        self.readers.add(threading.get_ident())
        random = torch.Generator().manual_seed(epoch * STEPS + at)
        ids = torch.randint(FEATURE.rows, (ROWS,), generator=random)
        keyed = KeyedJaggedTensor(["item"], ids, torch.ones(ROWS), torch.ones(ROWS, dtype=torch.int64))
        return Clicks(ids=keyed, numbers=(torch.rand(ROWS, generator=random), ids.float()), name=f"{epoch}.{at}")

    def made(self, read: Clicks) -> Clicks:
        self.made_after.append((read.name, self.done))
        return read

    def losses(self, batch: Clicks) -> Losses:
        self.done += 1
        loss = (self.model(batch) - batch.numbers[0]).square().mean()
        return loss, loss.detach()

    def step(self, epoch: int, at: int) -> float:
        torch.manual_seed(epoch * STEPS + at)
        return float(self.steps.step(epoch, at))

    def score(self) -> torch.Tensor:
        """Output of a validation between two epochs."""
        self.steps.pause()
        with torch.no_grad():
            return self.model.module.eval()(self.read(9, 9))

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: value.local_shards()[0].tensor if isinstance(value, ShardedTensor) else value
                for name, value in self.model.state_dict().items()}  # fmt: skip


@pytest.fixture(autouse=True)
def group():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_overlapping_steps_equal_sequential_steps():
    plain, overlapping = Training(overlap=False), Training(overlap=True)
    for epoch in range(3):
        for training in (plain, overlapping):
            training.model.train()
        for at in range(STEPS):
            assert plain.step(epoch, at) == overlapping.step(epoch, at)
        assert torch.equal(plain.score(), overlapping.score())
    found = overlapping.weights()
    for name, expected in plain.weights().items():
        assert torch.equal(found[name], expected), name


def test_run_started_within_an_epoch_reads_the_rest_of_it():
    training = Training(overlap=True)
    for at in range(2, STEPS):
        training.step(0, at)
    training.step(1, 0)
    assert [name for name, _ in training.made_after] == ["0.2", "0.3", "0.4", "1.0", "1.1", "1.2"]


def test_batches_are_read_in_a_thread_and_made_before_their_step():
    training = Training(overlap=True)
    for at in range(STEPS):
        training.step(0, at)
    assert training.made_after == [("0.0", 0), ("0.1", 0), ("0.2", 0), ("0.3", 1), ("0.4", 2)]
    assert len(training.readers) == 1 and threading.get_ident() not in training.readers
    plain = Training(overlap=False)
    plain.step(0, 0)
    plain.step(0, 1)
    assert plain.made_after == [("0.0", 0), ("0.1", 1)], "what the weights decide must not be made before they moved"
    assert plain.readers == {threading.get_ident()}


def test_embedding_forward_is_pipelined_until_the_steps_pause():
    training = Training(overlap=True)
    training.step(0, 0)
    bags = training.model.module.bags
    assert isinstance(bags.forward, PipelinedForward)
    for at in range(1, STEPS):
        training.step(0, at)
    training.score()
    assert not isinstance(bags.forward, PipelinedForward)


def test_moving_a_batch_moves_its_tensors_and_keeps_other_fields():
    batch = Training(overlap=False).read(0, 0)
    moved = batch.to(torch.device("meta"))
    assert moved.name == batch.name and [one.device.type for one in moved.numbers] == ["meta", "meta"]
    assert moved.ids.values().device.type == "meta" and batch.ids.values().device.type == "cpu"


def test_prefetch_keeps_the_order_and_propagates_errors():
    assert list(prefetch(lambda number: number * 2, range(3, 7))) == [6, 8, 10, 12]
    assert list(prefetch(lambda number: number, range(0))) == []
    with pytest.raises(ZeroDivisionError):
        list(prefetch(lambda number: 1 // number, range(-2, 2)))
