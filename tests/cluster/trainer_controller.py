"""Simulates Kubeflow Trainer and JobSet on the API server for tests: real torchrun processes as nodes of a TrainJob.

A node is one torchrun with the body's own command, arguments and environment, plus the PET_* variables of Trainer.
"""

import contextlib
import datetime
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kubernetes.client import CustomObjectsApi

from components.shared.cluster.api import Cluster
from components.shared.cluster.kinds import TRAIN_JOB
from components.shared.cluster.train_job import ended
from tests.ports import free_port


def write_status(cluster: Cluster, name: str, **status) -> None:
    """Patch the status, as only a controller may."""
    CustomObjectsApi(cluster.client).patch_namespaced_custom_object_status(
        TRAIN_JOB.group, TRAIN_JOB.version, cluster.namespace, TRAIN_JOB.plural, name, {"status": status}
    )


def write_end(cluster: Cluster, name: str, kind: str, reason: str, message: str) -> None:
    """Write the final condition of the TrainJob to its status."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now}
    write_status(cluster, name, conditions=[condition])


def write_active(cluster: Cluster, name: str, nodes: int) -> None:
    """Write to the status that the nodes run."""
    one = {"name": "node", "active": nodes, "ready": nodes, "failed": 0, "succeeded": 0, "suspended": 0}
    write_status(cluster, name, jobsStatus=[one])


@dataclass
class Trainer:
    """Runs every TrainJob of a namespace.

    Attributes:
        cluster: its namespace. folder: of the nodes' logs and temporary files.
        restarts: how often all nodes of a job are restarted after one of them died, as JobSet does.
        kill: called repeatedly in the first attempt; once it returns true, the last node is killed.
        bodies: TrainJobs that were run. attempts: starts of all nodes, over all jobs.
    """

    cluster: Cluster
    folder: Path
    restarts: int = 0
    kill: Callable[[], bool] = lambda: False
    bodies: list[dict] = field(default_factory=list)
    attempts: int = 0

    @contextlib.contextmanager
    def running(self) -> Iterator["Trainer"]:
        """Run TrainJobs until the block ends."""
        stop = threading.Event()
        thread = threading.Thread(target=self._watch, args=(stop,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join(60)

    def _watch(self, stop: threading.Event) -> None:
        while not stop.is_set():
            for job in self.cluster.list(TRAIN_JOB):
                if not ended(job)[0] and not stop.is_set():
                    self.bodies.append(job)
                    self._run(job, stop)
            stop.wait(0.2)

    def _run(self, job: dict, stop: threading.Event) -> None:
        name = job["metadata"]["name"]
        for attempt in range(1 + self.restarts):
            self.attempts += 1
            nodes = self._start(job)
            write_active(self.cluster, name, len(nodes))
            codes = self._wait(name, nodes, stop, killing=attempt == 0)
            if codes is None:
                return
            if not any(codes):
                write_end(self.cluster, name, "Complete", "JobsCompleted", "jobset completed successfully")
                return
        message = "jobset failed due to one or more job failures"
        write_end(self.cluster, name, "Failed", "JobsFailed", message)

    def _start(self, job: dict) -> list[subprocess.Popen]:
        trainer, name, port = job["spec"]["trainer"], job["metadata"]["name"], free_port()
        nodes = []
        for rank in range(trainer["numNodes"]):
            temporary = self.folder / f"tmp-{rank}-{self.attempts}"
            temporary.mkdir(parents=True)
            given = {one["name"]: one["value"] for one in trainer["env"]}
            environment = {
                **os.environ, **given, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "TMPDIR": str(temporary), "PET_NNODES": str(trainer["numNodes"]), "PET_NODE_RANK": str(rank),
                "PET_NPROC_PER_NODE": str(trainer["numProcPerNode"]), "PET_MASTER_ADDR": "127.0.0.1",
                "PET_MASTER_PORT": str(port), "PET_MONITOR_INTERVAL": "0.2", "PET_LOCAL_ADDR": "127.0.0.1",
            }  # fmt: skip
            with (self.folder / f"{name}-{rank}.log").open("a") as log:
                command = [*trainer["command"], *trainer["args"]]
                nodes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True))
        return nodes

    def _wait(self, name: str, nodes: list[subprocess.Popen], stop: threading.Event, killing: bool) -> list[int] | None:
        """Exit codes; one node that dies takes the others with it. None when the TrainJob was deleted."""
        looked = 0.0
        while any(node.poll() is None for node in nodes):
            gone = stop.is_set()
            if time.monotonic() - looked > 1:
                looked = time.monotonic()
                gone = gone or self.cluster.find(TRAIN_JOB, name) is None
            if gone:
                self._end(nodes)
                return None
            if killing and self.kill():
                killing = False
                os.killpg(nodes[-1].pid, signal.SIGKILL)
            if any(node.poll() for node in nodes):
                time.sleep(1.0)
                self._end(nodes)
            time.sleep(0.02)
        return [node.returncode for node in nodes]

    def _end(self, nodes: list[subprocess.Popen]) -> None:
        for node in nodes:
            if node.poll() is None:
                os.killpg(node.pid, signal.SIGKILL)
                node.wait()


@dataclass
class FileLogs:
    """Lines of the nodes' log files in `folder`, in place of pods' logs."""

    folder: Path

    @contextlib.contextmanager
    def opened(self, job: str, emit: Callable[[str], None]) -> Iterator[None]:
        closing, offsets = threading.Event(), {}

        def look() -> None:
            for path in sorted(self.folder.glob(f"{job}-*.log")):
                with path.open(errors="replace") as stream:
                    stream.seek(offsets.get(path, 0))
                    while (line := stream.readline()).endswith("\n"):
                        emit(f"[node {path.stem.rsplit('-', 1)[1]}] {line.rstrip()}")
                        offsets[path] = stream.tell()

        def follow() -> None:
            while not closing.wait(0.1):
                look()
            look()

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            closing.set()
            thread.join()

    def why_waiting(self, job: str) -> str:
        return f"{job}-node-0-0: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu"
