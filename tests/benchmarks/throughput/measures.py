"""What can be measured: every variant behind one face, a step and the loss of its first batch."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from components.shared.training.group import Group
from components.shared.training.optimizer import ComputeDtype, When
from tests.benchmarks.throughput.data import Shape


@dataclass(frozen=True, kw_only=True)
class WorkerJob:
    """What is measured, as JSON."""

    measure: str
    """Name of one of DLRM_MEASURES or SEQUENCE_MEASURES, or profile."""
    data: str
    """The rows."""
    shape: dict
    """Fields of Shape."""
    folder: str
    """Receives result.json."""
    batch: int
    """Rows of a step over all processes."""
    steps: int
    """Steps on the clock, at most."""
    seconds: float
    """What they may take, about."""
    precision: ComputeDtype
    """Of the dense layers."""
    compiled: When = "gpu"
    """Where those are compiled, of a DLRM."""
    warm: int = 5
    """Steps before the clock starts; in the first one layers may be compiled."""


Step = Callable[[int], object]


@dataclass(frozen=True)
class Measured:
    """A variant that is ready to run.

    Attributes:
        step: Does the step with this number.
        probe: Mean loss of the first batch under the first weights; each rank gives its part.
        samples: Of a step; the job's batch by default.
        extra: More figures.
    """

    step: Step
    probe: Callable[[], float] | None = None
    samples: int = 0
    extra: dict[str, float] = field(default_factory=dict)


def ours(job: WorkerJob, group: Group) -> Measured:
    """The project's training parts."""
    from tests.benchmarks.throughput.ours import DlrmTraining

    training = DlrmTraining(Path(job.data), Shape.of(job.shape), job.batch, group, job.precision, job.compiled)

    def probe() -> float:
        first = next(pq.ParquetFile(job.data).iter_batches(job.batch, columns=training.shape.columns))
        part = group.share(job.batch)
        table = pa.Table.from_batches([first.slice(part.start, part.stop - part.start)])
        with torch.no_grad():
            return float(training.loss(table)) / group.world

    return Measured(training.step, probe)


def torchrec_dlrm(job: WorkerJob, group: Group) -> Measured:
    """TorchRec's own, see reference.py."""
    from tests.benchmarks.throughput.reference import ReferenceTraining

    training = ReferenceTraining(Path(job.data), Shape.of(job.shape), job.batch, group)

    def probe() -> float:
        with torch.no_grad():
            return float(training.loss()) / group.world

    return Measured(training.step, probe)


def plain_bags(job: WorkerJob, _: Group) -> Measured:
    """See plain.py."""
    from tests.benchmarks.throughput import plain

    return _plain(plain.bags(Path(job.data), Shape.of(job.shape), job.batch, job.precision), job)


def plain_flat(job: WorkerJob, _: Group) -> Measured:
    """See plain.py."""
    from tests.benchmarks.throughput import plain

    return _plain(plain.flat(Path(job.data), Shape.of(job.shape), job.batch, job.precision), job)


def plain_adagrad(job: WorkerJob, _: Group) -> Measured:
    """See plain.py."""
    from tests.benchmarks.throughput import plain

    return _plain(plain.adagrad(Path(job.data), Shape.of(job.shape), job.batch, job.precision), job)


def plain_dense(job: WorkerJob, _: Group) -> Measured:
    """See plain.py."""
    from tests.benchmarks.throughput import plain

    return _plain(plain.dense(Path(job.data), Shape.of(job.shape), job.batch, job.precision), job)


def _plain(training, job: WorkerJob) -> Measured:
    from components.shared.training.pipelining import compile_dense

    compile_dense(training.parts, torch.device("cpu"), job.compiled)

    def probe() -> float:
        with torch.no_grad():
            return float(training.loss(torch.arange(training.batch)))

    return Measured(training.step, probe)


def ceiling(job: WorkerJob, group: Group) -> Measured:
    """Matrix products alone."""
    from tests.benchmarks.throughput.ceiling import Products

    dtype = torch.bfloat16 if job.precision == "bfloat16" else torch.float32
    return Measured(Products(Shape.of(job.shape), job.batch // group.world, dtype).step)


def jagged_attention(job: WorkerJob, _: Group) -> Measured:
    """Our causal self-attention."""
    from tests.benchmarks.throughput.sequences import ATTENTION, JaggedTraining, Sequences

    return _sequences(JaggedTraining(Sequences(), ATTENTION))


def jagged_hstu(job: WorkerJob, _: Group) -> Measured:
    """Our HSTU."""
    from tests.benchmarks.throughput.sequences import HSTU, JaggedTraining, Sequences

    return _sequences(JaggedTraining(Sequences(), HSTU))


def padded_sasrec(job: WorkerJob, _: Group) -> Measured:
    """Plain torch."""
    from tests.benchmarks.throughput.sequences import PaddedTraining, Sequences

    return _sequences(PaddedTraining(Sequences()))


def _sequences(training) -> Measured:
    sequences = training.sequences
    tokens = sum(len(sequences.histories(number).values) - sequences.batch for number in range(20)) / 20
    probe = training.loss(0).item()
    return Measured(training.step, lambda: probe, sequences.batch, {"tokens_per_sample": tokens / sequences.batch})


DLRM_MEASURES = (ours, torchrec_dlrm, plain_bags, plain_flat, plain_adagrad, plain_dense, ceiling)
SEQUENCE_MEASURES = (jagged_attention, jagged_hstu, padded_sasrec)
