"""Steps that overlap: while one batch's layers run, a thread reads the next, and its ids are sent to their tables.

On a CPU, where nothing is idle meanwhile, one batch follows the other unless `overlap` is always (measured: no gain).
"""

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, Protocol, Self, TypeVar, cast

import torch
from torch import nn
from torchrec.distributed import DistributedModelParallel
from torchrec.distributed.train_pipeline import TrainPipelineSparseDist
from torchrec.optim.keyed import CombinedOptimizer
from torchrec.streamable import Pipelineable

from components.shared.training.cpp_compiler import require_cpp_compiler
from components.shared.training.optimizer import When

Read = TypeVar("Read")
Made = TypeVar("Made", bound=Pipelineable)
Losses = tuple[torch.Tensor, torch.Tensor]
"""What backward starts from, and what a step reports, detached."""


def chosen(when: When, device: torch.device) -> bool:
    """Whether it is wanted on this device."""
    return when == "always" or (when == "gpu" and device.type == "cuda")


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepBatch(Pipelineable):
    """A batch whose fields are tensors, KeyedJaggedTensors, tuples of them, or anything else, which stays."""

    def to(self, device: torch.device, non_blocking: bool = False) -> Self:
        """The same on a device."""
        return self._mapped(lambda part: part.to(device=device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """The same in memory that a GPU copies from by itself."""
        return self._mapped(lambda part: part.pin_memory())

    def record_stream(self, stream: torch.Stream) -> None:
        """See torch.Tensor.record_stream."""
        self._mapped(lambda part: part.record_stream(stream))

    def _mapped(self, change: Callable[[Any], Any]) -> Self:
        def changed(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(changed(one) for one in value)
            return change(value) if isinstance(value, torch.Tensor | Pipelineable) else value

        return dataclasses.replace(
            self, **{field.name: changed(getattr(self, field.name)) for field in dataclasses.fields(self)}
        )


class Untraced(nn.Module):
    """A call that TrainPipelineSparseDist does not look into when it searches a model for its tables.

    Args:
        call: Of the model that holds this; holds no weights of its own.
    """

    def __init__(self, call: Callable[..., Any]):
        super().__init__()
        self._call = call

    def forward(self, *given: Any) -> Any:
        """What the call returns."""
        return self._call(*given)


class Batches(Protocol[Read, Made]):
    """What steps are made of; which it is follows from epoch and step."""

    def steps_per_epoch(self) -> int:
        """Steps in an epoch."""
        ...

    def read(self, epoch: int, at: int) -> Read:
        """Read and draw: touches neither model nor process group, for it may run in a thread while a step does."""
        ...

    def made(self, read: Read) -> Made:
        """The batch; every rank makes the same ones in the same order."""
        ...

    def losses(self, batch: Made) -> Losses:
        """The forward pass on a batch that is on the device."""
        ...


class Steps(Generic[Read, Made]):
    """Optimiser steps of a model, batch after batch.

    Args:
        model: Its forward takes a batch; with `overlap` what reads `batch.NAME` alone is sent ahead.
        optimizer: Moves it.
        batches: See Batches.
        device: Of this rank.
        overlap: Whether the next batches are begun before a step ends; not for batches that the model's weights decide.
    """

    def __init__(
        self, model: DistributedModelParallel, optimizer: CombinedOptimizer, batches: Batches[Read, Made],
        device: torch.device, overlap: bool,
    ):  # fmt: skip
        self._optimizer, self._batches, self._device = optimizer, batches, device
        self._pipeline = None
        if overlap:
            self._pipeline = TrainPipelineSparseDist(model, optimizer, device, custom_model_fwd=self._losses)  # pyright: ignore[reportArgumentType]
        self._coming: Iterator[Made] = iter(())
        self._next = (-1, -1)

    def step(self, epoch: int, at: int) -> torch.Tensor:
        """Do step `at` of `epoch`; returns what `losses` reports."""
        if (epoch, at) != self._next:
            self._coming = self._from(epoch, at)
        self._next = (epoch, at + 1)
        if self._pipeline is not None:
            return self._pipeline.progress(self._coming)
        batch = cast(Made, next(self._coming).to(self._device, non_blocking=False))
        self._optimizer.zero_grad()
        loss, reported = self._batches.losses(batch)
        loss.backward()
        self._optimizer.step()
        return reported

    def pause(self) -> None:
        """Give the model its own forward back, after an epoch's last step; the next step takes it again."""
        if self._pipeline is not None:
            self._pipeline.detach()

    def _losses(self, batch: Made | None) -> Losses:
        assert batch is not None
        return self._batches.losses(batch)

    def _from(self, epoch: int, at: int) -> Iterator[Made]:
        """The batches of an epoch from a step on."""
        steps = self._batches.steps_per_epoch()
        if self._pipeline is None:
            yield from (self._batches.made(self._batches.read(epoch, one)) for one in range(at, steps))
            return
        for read in ahead(lambda one: self._batches.read(epoch, one), range(at, steps)):
            made = self._batches.made(read)
            yield cast(Any, made).pin_memory() if self._device.type == "cuda" else made


def ahead(read: Callable[[int], Read], numbers: range) -> Iterator[Read]:
    """`read` of every number in turn; a thread reads the next one meanwhile."""
    with ThreadPoolExecutor(1) as thread:
        coming = None
        for number in numbers:
            now, coming = coming, thread.submit(read, number)
            if now is not None:
                yield now.result()
        if coming is not None:
            yield coming.result()


def compile_dense(parts: nn.Module, device: torch.device, when: When) -> None:
    """Compile layers that hold no sharded table, in place; the first steps then take longer.

    Args:
        parts: The layers.
        device: Of this rank.
        when: See OptimizerConfig.compile.

    Raises:
        InputError: on a CPU, without a C++ compiler.
    """
    if not chosen(when, device):
        return
    if device.type == "cpu":
        require_cpp_compiler("optimizer: compile is 'always'", "or set compile to gpu or never")
    parts.compile()
