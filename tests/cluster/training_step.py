"""A step that trains as a TrainJob on the platform: its settings, its namespace, and workers that a test directs."""

import dataclasses
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

from components.shared.cluster.api import Cluster
from components.shared.cluster.kinds import TRAIN_JOB
from components.shared.cluster.pods import PodLogs
from components.shared.cluster.train_job import job_name
from components.shared.cluster.train_launcher import TrainJobLauncher, TrainJobLimits
from components.shared.cluster.worker_pods import JOB_LABEL
from components.shared.tests.waiting import eventually
from components.shared.training.launch import Inputs, LaunchConfig, PodSettings, WorkerTask
from tests.cluster.platform.client import Platform
from tests.cluster.scripted_worker import WORD

LIMITS = TrainJobLimits(start_s=180, run_s=600, gone_s=60)
CLAIM = "shoprank-registry"


def pod_with(folder: Path, **changes) -> PodSettings:
    """Settings as KFP hands them over, with a claim mounted at `folder`."""
    given = {
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
            {"name": "shared", "persistentVolumeClaim": {"claimName": CLAIM}},
        ],
        "volume_mounts": [{"name": "dshm", "mountPath": "/dev/shm"}, {"name": "shared", "mountPath": str(folder)}],
    }
    return PodSettings.of({**given, **changes})


def settings(folder: Path, exchange: str = "", **changes) -> LaunchConfig:
    """Options of a step whose volume is at `folder`."""
    given = {"launch": "trainjob", "nodes": 2, "threads": 1, "pod": pod_with(folder)}
    return LaunchConfig(exchange=exchange or str(folder / "exchange"), **{**given, **changes})


def task_in(folder: Path) -> WorkerTask:
    """A training whose workers are those of scripted_worker.py."""
    (folder / "data.txt").write_text("rows")
    return WorkerTask(
        stage="train_retriever", module="tests.cluster.scripted_worker", digest="0123456789abcdef",
        settings={"epochs": 1}, inputs={"features": Inputs(folder=folder, files=("data.txt",))},
        results=("curve.json",),
    )  # fmt: skip


class Volume:
    """The claim of a step in a namespace of the platform: a folder of this machine, with small nodes for the workers.

    Args:
        node: The platform.
        cluster: Connection to the namespace.
        folder: The volume; pods see it under its own path.
    """

    def __init__(self, node: Platform, cluster: Cluster, folder: Path):
        self.node, self.cluster, self.folder = node, cluster, folder
        folder.chmod(0o755)
        size = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
        self._apply(
            {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": cluster.namespace},
             "spec": {**size, "capacity": {"storage": "1Gi"}, "hostPath": {"path": str(folder)},
                      "claimRef": {"namespace": cluster.namespace, "name": CLAIM}}},
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim",
             "metadata": {"name": CLAIM, "namespace": cluster.namespace},
             "spec": {**size, "volumeName": cluster.namespace, "resources": {"requests": {"storage": "1Gi"}}}},
        )  # fmt: skip

    def settings(self, exchange: str = "", **changes) -> LaunchConfig:
        """Options for nodes that fit on the platform; a limit of GPUs may be in `gpus`."""
        gpus, env = changes.pop("gpus", {}), changes.pop("env", [])
        pod = pod_with(self.folder, node_selector={}, resources={"limits": gpus}, env=env)
        small = {"node_cpu": "400m", "node_memory": "1Gi", "pod": pod}
        return settings(self.folder, exchange, **{**small, **changes})

    def pods(self, job: str) -> list[dict]:
        """Pods of a TrainJob."""
        return self.cluster.read("pods", labelSelector=f"{JOB_LABEL}={job}")["items"]

    def step(self, name: str) -> str:
        """A pod as that of a pipeline's step, which owns its TrainJob; it is never scheduled. Returns its UID."""
        secure = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True,
                  "seccompProfile": {"type": "RuntimeDefault"}}  # fmt: skip
        self._apply({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": self.cluster.namespace},
            "spec": {"schedulingGates": [{"name": "shoprank.example/never"}],
                     "containers": [{"name": "main", "image": "none", "securityContext": secure}]},
        })  # fmt: skip
        return self.cluster.read(f"pods/{name}")["metadata"]["uid"]

    def close(self) -> None:
        """Remove the volume; the namespace's end removes the claim."""
        self.node.kubectl("delete", "persistentvolume", self.cluster.namespace, "--wait=false")

    def _apply(self, *documents: dict) -> None:
        given = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(documents)})
        self.node.kubectl("apply", "--server-side", "-f", "-", given=given)


class Scene:
    """A step with a TrainJob, whose real workers a test directs by a word."""

    def __init__(self, volume: Volume):
        self.volume, self.cluster, self.folder = volume, volume.cluster, volume.folder
        self.task = task_in(self.folder)
        self.name = job_name(self.task, os.environ.get("KFP_RUN_ID", ""))
        self.run_folder = self.folder / "exchange/train_retriever" / self.name / "run"

    def launch(self, config: LaunchConfig | None = None, **limits) -> None:
        """Run the step."""
        launcher = TrainJobLauncher(
            cluster=self.cluster, logs=PodLogs(self.cluster, every_s=0.5), config=config or self.volume.settings(),
            limits=dataclasses.replace(LIMITS, **limits),
        )  # fmt: skip
        (self.folder / "work").mkdir(exist_ok=True)
        launcher.run(self.task, self.folder / "work")

    def play(self, act: Callable[[], object], runs: bool = True) -> threading.Thread:
        """Call `act` as soon as the TrainJob exists, or (`runs`) as soon as its nodes run."""

        def wait() -> None:
            assert eventually(self.running if runs else self.uid, 120)
            act()

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        return thread

    def uid(self) -> str:
        """Of the TrainJob, '' if there is none or it is being deleted."""
        found = self.cluster.find(TRAIN_JOB, self.name)
        return found["metadata"]["uid"] if found and "deletionTimestamp" not in found["metadata"] else ""

    def running(self) -> bool:
        """Whether both nodes run, and have not ended."""
        return [pod["status"].get("phase") for pod in self.volume.pods(self.name)] == ["Running", "Running"]

    def tell(self, word: str) -> None:
        """Give the workers their word."""
        # They may read it as soon as it exists.
        (self.run_folder / f".{WORD}").write_text(word)
        (self.run_folder / f".{WORD}").chmod(0o644)
        (self.run_folder / f".{WORD}").rename(self.run_folder / WORD)
