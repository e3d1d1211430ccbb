"""Steps that overlap on a GPU: while one batch's layers run, the next is read, copied and its ids sent to their tables.

On a CPU, where nothing is idle meanwhile, the same interface goes batch by batch (measured there: no gain).
"""

from collections.abc import Iterator

import torch
from torch import nn
from torchrec.datasets.utils import Batch
from torchrec.distributed import DistributedModelParallel
from torchrec.distributed.train_pipeline import TrainPipelineBase, TrainPipelineSparseDist
from torchrec.distributed.train_pipeline.utils import DataLoadingThread
from torchrec.optim.keyed import CombinedOptimizer

from components.shared.cpp_compiler import require_cpp_compiler
from components.shared.training.optimizer import Compile

Pipeline = TrainPipelineBase | TrainPipelineSparseDist
"""`progress(batches)` does one step: zero_grad, forward, backward, optimiser."""


def pipelined(model: DistributedModelParallel, optimizer: CombinedOptimizer, device: torch.device) -> Pipeline:
    """The pipeline of a device.

    Args:
        model: Maps a Batch to its loss and an output, which `progress` returns.
        optimizer: Moves it.
        device: Of this rank.
    """
    kind = TrainPipelineSparseDist if device.type == "cuda" else TrainPipelineBase
    return kind(model, optimizer, device)


def read_ahead(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """The same batches, in the same order; on a GPU a thread reads and copies the next one meanwhile."""
    if device.type != "cuda":
        return batches
    thread = DataLoadingThread(device, (batch.pin_memory() for batch in batches), to_device_non_blocking=True)
    thread.start()
    return iter(thread.get_next_batch, None)


def compile_dense(parts: nn.Module, device: torch.device, when: Compile) -> None:
    """Compile layers that hold no sharded table, in place; the first steps then take longer.

    Args:
        parts: The layers.
        device: Of this rank.
        when: See OptimizerConfig.compile.

    Raises:
        InputError: on a CPU, without a C++ compiler.
    """
    if when == "never" or (when == "gpu" and device.type != "cuda"):
        return
    if device.type == "cpu":
        require_cpp_compiler("optimizer: compile is 'always'", "or set compile to gpu or never")
    parts.compile()
