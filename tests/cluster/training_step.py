"""A step that trains as a TrainJob, with a controller and workers that a test plays by hand."""

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path

from components.shared.cluster.kinds import TRAIN_JOB
from components.shared.cluster.train_job import job_name
from components.shared.cluster.train_launcher import TrainJobLauncher, TrainJobLimits
from components.shared.errors import MissingObject
from components.shared.training.launch import Inputs, LaunchConfig, PodSettings, WorkerTask
from tests.cluster.trainer_controller import FileLogs, write_end

LIMITS = TrainJobLimits(start_s=60, run_s=600, gone_s=10)


def pod_with(folder: Path) -> PodSettings:
    """Settings as KFP hands them over, with a claim mounted at `folder`."""
    return PodSettings.of(
        {
            "resources": {
                "requests": {"cpu": "4", "memory": "32Gi"},
                "limits": {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "0"},
            },
            "env": [{"name": "AWS_REGION", "value": "eu"}, {"name": "KFP_RUN_ID", "value": "r1"}],
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "node_selector": {"shoprank.example/pool": "gpu"},
            "affinity": None,
            "volumes": [
                {"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}},
                {"name": "shared", "persistentVolumeClaim": {"claimName": "shoprank-registry"}},
            ],
            "volume_mounts": [
                {"name": "dshm", "mountPath": "/dev/shm"},
                {"name": "shared", "mountPath": str(folder)},
            ],
        }
    )


def settings(folder: Path, exchange: str = "", **changes) -> LaunchConfig:
    given = {"launch": "trainjob", "nodes": 2, "threads": 1, "pod": pod_with(folder)}
    return LaunchConfig(exchange=exchange or str(folder / "exchange"), **{**given, **changes})


def retrying(act: Callable[[], object]) -> object:
    """Retry while the TrainJob is deleted and not yet created again."""
    while True:
        try:
            return act()
        except MissingObject:
            threading.Event().wait(0.02)


def task_in(folder: Path) -> WorkerTask:
    (folder / "data.txt").write_text("rows")
    return WorkerTask(
        stage="train_retriever", module="components.train_retriever.worker", digest="0123456789abcdef",
        settings={"epochs": 1}, inputs={"features": Inputs(folder=folder, files=("data.txt",))},
        results=("curve.json",),
    )  # fmt: skip


class Scene:
    """A step with a TrainJob whose controller and workers a test plays by hand."""

    def __init__(self, cluster, folder: Path):
        self.cluster, self.folder = cluster, folder
        self.task, self.name = task_in(folder), job_name(task_in(folder), "")
        self.run_folder = folder / "exchange/train_retriever" / self.name / "run"

    def launch(self, **limits) -> None:
        limit = dataclasses.replace(LIMITS, **limits)
        launcher = TrainJobLauncher(
            cluster=self.cluster, logs=FileLogs(self.folder), config=settings(self.folder), limits=limit
        )
        (self.folder / "work").mkdir(exist_ok=True)
        launcher.run(self.task, self.folder / "work")

    def play(self, act) -> threading.Thread:
        """Call `act` as soon as the TrainJob exists."""

        def wait() -> None:
            while self.cluster.find(TRAIN_JOB, self.name) is None:
                threading.Event().wait(0.05)
            act()

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        return thread

    def say(self, *lines: str) -> None:
        with (self.folder / f"{self.name}-1.log").open("a") as log:
            log.write("".join(f"{line}\n" for line in lines))

    def complete(self) -> None:
        self.run_folder.mkdir(parents=True, exist_ok=True)
        (self.run_folder / "curve.json").write_text("[]")
        write_end(self.cluster, self.name, "Complete", "JobsCompleted", "done")

    def fail(self, reason: str = "JobsFailed", message: str = "jobset failed") -> None:
        write_end(self.cluster, self.name, "Failed", reason, message)
