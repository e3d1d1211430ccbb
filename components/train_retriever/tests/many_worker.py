"""Several short runs of the real worker's training in one start of its processes, for test_many_runs.py.

Each run has a folder of its own; one with `stops` is given up before that step, one with `begins` goes on from another.
"""

import argparse
import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from components.shared.features.spec import FeatureSpec
from components.shared.models.retriever import Retriever
from components.shared.storage import read_json, write_json
from components.shared.training import checkpoint
from components.shared.training.group import Group, process_group, quiet_third_parties
from components.shared.training.loop import Loop
from components.shared.training.worker import loop_config
from components.train_retriever.config import RetrieverOptions
from components.train_retriever.job import METRIC, WorkerJob
from components.train_retriever.worker import Training, model_config


@dataclass(frozen=True, kw_only=True)
class ManyJob:
    """The settings of the worker."""

    folder: str
    """Each run has a folder of its name in it."""
    features: str
    """Output of build_features."""
    runs: dict[str, dict[str, Any]]
    """Name -> the worker's job but for its folders."""
    stops: dict[str, int]
    """Name -> step before which the run is given up."""
    begins: dict[str, str]
    """Name -> folder of a run whose checkpoints it goes on from."""


class GivenUpError(Exception):
    """A run was to end here."""


class Halting(Training):
    """Gives up before a step."""

    stop = -1

    def step(self, epoch: int, at: int) -> torch.Tensor:
        if epoch * self.steps_per_epoch() + at == self.stop:
            raise GivenUpError
        return super().step(epoch, at)


def run(job: WorkerJob, stop: int, group: Group) -> None:
    """One run, from its newest checkpoint to its end or to `stop`."""
    training = Halting(job, group)
    loop = loop_config(training.config, "many", METRIC)
    training.stop = stop
    untrained = training.validate()
    if group.rank == 0:
        Path(job.folder).mkdir(exist_ok=True)
        write_json(Path(job.folder) / "untrained.json", untrained)
    with contextlib.suppress(GivenUpError):
        Loop(loop, training, group, Path(job.folder)).run()


def main() -> None:
    """Entry point of torchrun."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", required=True)
    many = ManyJob(**read_json(Path(parser.parse_args().job)))
    spec = FeatureSpec.read(Path(many.features) / "spec.json")
    quiet_third_parties()
    with process_group() as group:
        for name, settings in sorted(many.runs.items(), key=lambda run: run[0] in many.begins):
            folder = Path(many.folder) / name
            if group.rank == 0 and name in many.begins:
                shutil.copytree(many.begins[name], folder)
            torch.distributed.barrier()
            run(WorkerJob(**settings, features=many.features, folder=str(folder)), many.stops.get(name, -1), group)
    for name, settings in many.runs.items() if group.rank == 0 else ():
        if name not in many.stops:
            folder = Path(many.folder) / name
            config = RetrieverOptions.read(settings["training"], "training")
            module = Retriever(model_config(spec, config), torch.device("cpu"))
            checkpoint.export_weights(module, folder, folder, config.optimizer.seed)


if __name__ == "__main__":
    main()
