"""Overlapping steps: while the layers run on a batch, a thread reads the next, and its ids are sent to their tables.

On a CPU, where nothing is idle meanwhile, steps do not overlap unless `overlap` is `always` (measured: no gain).
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
"""Loss of the backward pass, and the detached loss that a step reports."""


def chosen(when: When, device: torch.device) -> bool:
    """Return whether a feature is used on this device."""
    return when == "always" or (when == "gpu" and device.type == "cuda")


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepBatch(Pipelineable):
    """A batch of tensors, KeyedJaggedTensors and tuples of them; fields of other types are not transferred."""

    def to(self, device: torch.device, non_blocking: bool = False) -> Self:
        """Return a copy on a device."""
        return self._mapped(lambda part: part.to(device=device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """Return a copy in pinned memory, from which a GPU copies asynchronously."""
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


class UntracedCall(nn.Module):
    """A call that TrainPipelineSparseDist does not trace when it searches a model for its tables.

    Args:
        call: Method of the model that contains this module; this module has no weights.
    """

    def __init__(self, call: Callable[..., Any]):
        super().__init__()
        self._call = call

    def forward(self, *given: Any) -> Any:
        """Return the result of the call."""
        return self._call(*given)


class Batches(Protocol[Read, Made]):
    """Source of the batches of steps; a batch is determined by epoch and step."""

    def steps_per_epoch(self) -> int:
        """Return the number of steps per epoch."""
        ...

    def read(self, epoch: int, at: int) -> Read:
        """Read and draw; must not use the model or the process group, because it may run in a thread during a step."""
        ...

    def made(self, read: Read) -> Made:
        """Create the batch; every rank creates the same batches in the same order."""
        ...

    def losses(self, batch: Made) -> Losses:
        """Run the forward pass on a batch that is on the device."""
        ...


class Steps(Generic[Read, Made]):
    """Optimiser steps of a model, batch after batch.

    Args:
        model: Model whose forward takes a batch; with `overlap`, only table inputs read as `batch.NAME` are sent ahead.
        optimizer: Optimiser of the model.
        batches: See Batches.
        device: Device of this rank.
        overlap: Whether to prepare the next batches before a step ends; not for batches that depend on the weights.
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
        """Run step `at` of `epoch` and return the loss that `losses` reports."""
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
        """Restore the model's own forward after an epoch's last step; the next step replaces it again."""
        if self._pipeline is not None:
            self._pipeline.detach()

    def _losses(self, batch: Made | None) -> Losses:
        assert batch is not None
        return self._batches.losses(batch)

    def _from(self, epoch: int, at: int) -> Iterator[Made]:
        """Yield the batches of an epoch, starting at step `at`."""
        steps = self._batches.steps_per_epoch()
        if self._pipeline is None:
            yield from (self._batches.made(self._batches.read(epoch, one)) for one in range(at, steps))
            return
        for read in prefetch(lambda one: self._batches.read(epoch, one), range(at, steps)):
            made = self._batches.made(read)
            yield cast(Any, made).pin_memory() if self._device.type == "cuda" else made


def prefetch(read: Callable[[int], Read], numbers: range) -> Iterator[Read]:
    """Yield `read(number)` for every number in order; a thread reads the next one meanwhile."""
    with ThreadPoolExecutor(1) as thread:
        coming = None
        for number in numbers:
            now, coming = coming, thread.submit(read, number)
            if now is not None:
                yield now.result()
        if coming is not None:
            yield coming.result()


def compile_dense(parts: nn.Module, device: torch.device, when: When) -> None:
    """Compile layers without sharded tables in place; the first steps then take longer.

    Args:
        parts: The layers.
        device: Device of this rank.
        when: See OptimizerConfig.compile.

    Raises:
        InputError: the device is a CPU and there is no C++ compiler.
    """
    if not chosen(when, device):
        return
    if device.type == "cpu":
        require_cpp_compiler("optimizer: compile is 'always'", "or set compile to gpu or never")
    parts.compile()
