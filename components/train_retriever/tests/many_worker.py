"""Several short training runs of the real worker in one start of its processes, for test_many_runs.py.

Each run has its own folder; a run in `stops` ends before that step, one in `begins` resumes another run.
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
    """The settings of this worker."""

    folder: str
    """Each run has a subfolder with its name."""
    features: str
    """Output of build_features."""
    runs: dict[str, dict[str, Any]]
    """Name -> the settings of the worker's job, without its folders."""
    stops: dict[str, int]
    """Name -> step before which the run is stopped."""
    begins: dict[str, str]
    """Name -> folder of the run whose checkpoints it resumes."""


class StoppedError(Exception):
    """Stops a run on purpose."""


class StoppingTraining(Training):
    """Training that stops before a given step."""

    stop = -1

    def step(self, epoch: int, at: int) -> torch.Tensor:
        if epoch * self.steps_per_epoch() + at == self.stop:
            raise StoppedError
        return super().step(epoch, at)


def run(job: WorkerJob, stop: int, group: Group) -> None:
    """Train one run from its newest checkpoint to its end or to step `stop`."""
    training = StoppingTraining(job, group)
    loop = loop_config(training.config, "many", METRIC)
    training.stop = stop
    untrained = training.validate()
    if group.rank == 0:
        Path(job.folder).mkdir(exist_ok=True)
        write_json(Path(job.folder) / "untrained.json", untrained)
    with contextlib.suppress(StoppedError):
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
