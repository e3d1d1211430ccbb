"""Common parts of all training workers: read the job, join the process group, configure the loop."""

import argparse
import contextlib
import os
from collections.abc import Iterator
from typing import Protocol, TypeVar

from components.shared.training.exchange import SharedFolder
from components.shared.training.group import Group, process_group, quiet_third_parties
from components.shared.training.loop import LoopConfig
from components.shared.training.optimizer import OptimizerConfig


class Job(Protocol):
    """A worker's job."""

    @property
    def folder(self) -> str:
        """Folder that receives checkpoints and results: a path that all ranks see, or an s3:// URI."""
        ...


AnyJob = TypeVar("AnyJob", bound=Job)


class Scheduled(Protocol):
    """Training options that configure the loop."""

    @property
    def epochs(self) -> int:
        """Maximum number of epochs."""
        ...

    @property
    def patience(self) -> int:
        """Epochs without a better validation metric before training ends."""
        ...

    @property
    def checkpoint_every(self) -> int:
        """Steps between checkpoints."""
        ...

    @property
    def optimizer(self) -> OptimizerConfig:
        """Options of the optimiser, including the schedule of the learning rates."""
        ...


@contextlib.contextmanager
def worker(job_class: type[AnyJob]) -> Iterator[tuple[AnyJob, Group, SharedFolder]]:
    """Provide the job named on the command line (`--job FOLDER/FILE`), the process group, and the job's folder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", required=True)
    folder, _, name = parser.parse_args().job.rpartition("/")
    job = job_class(**SharedFolder(folder).read_json(name))
    # The step, which may run as another user of the group, removes checkpoints.
    os.umask(0o002)
    quiet_third_parties()
    with process_group() as group:
        yield job, group, SharedFolder(job.folder)


def loop_config(options: Scheduled, stage: str, metric: str) -> LoopConfig:
    """Return the loop configuration that the options describe."""
    return LoopConfig(
        stage=stage, metric=metric, epochs=options.epochs, patience=options.patience,
        checkpoint_every=options.checkpoint_every, schedule=options.optimizer.schedule,
    )  # fmt: skip
