"""All measurable variants behind one interface: a step and the loss of the first batch."""

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
    """Settings of one measurement, as JSON."""

    measure: str
    """Name of one of DLRM_MEASURES or SEQUENCE_MEASURES, or profile."""
    data: str
    """File of rows."""
    shape: dict
    """Fields of Shape."""
    folder: str
    """Folder that receives result.json."""
    batch: int
    """Rows per step over all processes."""
    steps: int
    """Maximum number of timed steps."""
    seconds: float
    """Approximate time limit of the timed steps."""
    precision: ComputeDtype
    """Precision of the dense layers."""
    compiled: When = "gpu"
    """Devices on which the dense layers of a DLRM are compiled."""
    warm: int = 5
    """Warm-up steps before timing; layers may be compiled in the first one."""


Step = Callable[[int], object]


@dataclass(frozen=True)
class Measured:
    """A variant that is ready to run.

    Attributes:
        step: Does the step with this number.
        probe: Mean loss of the first batch with the initial weights; each rank returns its part.
        samples: Samples per step; the job's batch by default.
        extra: Additional figures.
    """

    step: Step
    probe: Callable[[], float] | None = None
    samples: int = 0
    extra: dict[str, float] = field(default_factory=dict)


def ours(job: WorkerJob, group: Group) -> Measured:
    """The DLRM with the project's training components."""
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
    """TorchRec's own DLRM, see reference.py."""
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
    """Only the matrix products of a step."""
    from tests.benchmarks.throughput.ceiling import Products

    dtype = torch.bfloat16 if job.precision == "bfloat16" else torch.float32
    return Measured(Products(Shape.of(job.shape), job.batch // group.world, dtype).step)


def jagged_attention(job: WorkerJob, _: Group) -> Measured:
    """Our causal self-attention on jagged tokens."""
    from tests.benchmarks.throughput.sequences import ATTENTION, JaggedTraining, Sequences

    return _sequences(JaggedTraining(Sequences(), ATTENTION))


def jagged_hstu(job: WorkerJob, _: Group) -> Measured:
    """Our HSTU on jagged tokens."""
    from tests.benchmarks.throughput.sequences import HSTU, JaggedTraining, Sequences

    return _sequences(JaggedTraining(Sequences(), HSTU))


def padded_sasrec(job: WorkerJob, _: Group) -> Measured:
    """SASRec in plain torch on padded tokens."""
    from tests.benchmarks.throughput.sequences import PaddedTraining, Sequences

    return _sequences(PaddedTraining(Sequences()))


def _sequences(training) -> Measured:
    sequences = training.sequences
    tokens = sum(len(sequences.histories(number).values) - sequences.batch for number in range(20)) / 20
    probe = training.loss(0).item()
    return Measured(training.step, lambda: probe, sequences.batch, {"tokens_per_sample": tokens / sequences.batch})


DLRM_MEASURES = (ours, torchrec_dlrm, plain_bags, plain_flat, plain_adagrad, plain_dense, ceiling)
SEQUENCE_MEASURES = (jagged_attention, jagged_hstu, padded_sasrec)
