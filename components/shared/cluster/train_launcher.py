"""Training on several nodes: copy the inputs, run the TrainJob, copy the model back.

A retried step finds its TrainJob by name; a cancelled step deletes it.
"""

import contextlib
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.shared.cluster.api import Cluster, Manifest
from components.shared.cluster.kinds import TRAIN_JOB
from components.shared.cluster.pods import PodLogs
from components.shared.cluster.start_limit import NodesWaiting
from components.shared.cluster.train_job import RUN_VARIABLE, RUNTIME, check_exchange, ended, job_name, train_job
from components.shared.cluster.worker_pods import JOB_LABEL, has_pods
from components.shared.errors import ChangedObject, ClusterError, MissingObject, TrainingError
from components.shared.training.exchange import SharedFolder
from components.shared.training.launch import LaunchConfig, WorkerTask, failure
from components.shared.training.sharing import share_with_workers


@dataclass(frozen=True, kw_only=True)
class TrainJobLimits:
    """Timeouts of a TrainJob in seconds."""

    start_s: float = 3600.0
    """Until all nodes run, at the start and after each restart, including time in a queue."""
    run_s: int = 7 * 86_400
    """From start to end; enforced by the cluster."""
    gone_s: float = 120.0
    """Until a deleted TrainJob is gone."""
    back_s: float = 60.0
    """Until a restarted API server serves TrainJobs again."""


@dataclass(frozen=True, kw_only=True)
class TrainJobLauncher:
    """Launches workers as a TrainJob and waits for its end.

    Attributes:
        cluster: cluster of the TrainJob. logs: source of the workers' log lines. config: nodes, processes, exchange.
        limits: timeouts.
    """

    cluster: Cluster
    logs: PodLogs
    config: LaunchConfig
    limits: TrainJobLimits = TrainJobLimits()

    def run(self, task: WorkerTask, work: Path) -> None:
        """Copy the inputs, train, and copy the results to `work`; checkpoints are kept until this succeeds.

        Raises:
            InputError: the exchange cannot be used.
            TrainingError: training failed, did not start in time or was deleted; with the worker's last output.
            ClusterError: the API rejected the TrainJob or is unavailable; a retried step finds the TrainJob again.
        """
        volume = check_exchange(self.config)
        name = job_name(task, os.environ.get(RUN_VARIABLE, ""))
        folder = SharedFolder(self.config.exchange) / task.stage / name
        self._hand_over(task, folder)
        if volume:
            files = [f"{field}/{file}" for field, inputs in task.inputs.items() for file in inputs.files]
            share_with_workers(volume, Path(f"{folder}"), ["job.json", *task.inputs, *files])
        body = train_job(task, self.config, name, f"{folder}/job.json", self.limits.run_s)
        with self._deleted_when_cancelled(name):
            self._submit(body, folder, task)
            self._follow(name, task)
        for result in task.results:
            (folder / "run").take(result, work / result)
        # Pods of finished TrainJobs would stay; the step has their logs. Last the folder, so that a retry finds both.
        self.cluster.delete(TRAIN_JOB, name)
        folder.remove()

    def _hand_over(self, task: WorkerTask, folder: SharedFolder) -> None:
        """Copy the inputs, then the job file, whose presence means that all inputs were copied."""
        if not folder.exists("job.json"):
            for field, inputs in task.inputs.items():
                for file in inputs.files:
                    (folder / field).put(inputs.folder / file, file)
            folders = {field: str(folder / field) for field in task.inputs}
            folder.write_json("job.json", {**task.settings, **folders, "folder": str(folder / "run")})

    def _submit(self, body: Manifest, folder: SharedFolder, task: WorkerTask) -> None:
        """Create the TrainJob, or resume that of an earlier attempt unless it failed."""
        name, labels = body["metadata"]["name"], body["metadata"]["labels"]
        deadline = time.monotonic() + self.limits.gone_s
        while time.monotonic() < deadline:
            present = self.cluster.find(TRAIN_JOB, name)
            if present is None:
                if self._created(body):
                    return
                continue
            if not labels.items() <= present["metadata"].get("labels", {}).items():
                raise ClusterError(
                    f"TrainJob {name} exists and was not created by shoprank for this training",
                    f"delete it: kubectl delete trainjob {name}",
                )
            end = ended(present)[0]
            results = all((folder / "run").exists(result) for result in task.results)
            if "deletionTimestamp" in present["metadata"]:
                time.sleep(0.5)
            elif end == "Failed" or (end == "Complete" and not results):
                self.cluster.delete(TRAIN_JOB, name)
            else:
                owners = {"metadata": {"ownerReferences": body["metadata"]["ownerReferences"]}}
                self.cluster.patch(TRAIN_JOB, name, owners)
                print(f"TrainJob {name} of an earlier attempt is resumed", flush=True)
                return
        raise ClusterError(
            f"TrainJob {name} of an earlier attempt and its pods were not gone within {self.limits.gone_s:.0f} s",
            f"check what keeps them: kubectl get -o yaml trainjob {name}; kubectl get pods -l {JOB_LABEL}={name}",
        )

    def _created(self, body: Manifest) -> bool:
        """Create the TrainJob; False if it cannot be created yet, or exists."""
        name = body["metadata"]["name"]
        if has_pods(self.cluster, name):
            # Trainer 2.3 would take the end of the JobSet that is left for that of a new TrainJob. Deletion in the
            # foreground is no help: it makes the JobSet anew while the TrainJob waits for its end.
            time.sleep(0.5)
            return False
        try:
            self.cluster.create(TRAIN_JOB, body)
        except ChangedObject:
            return False
        print(f"TrainJob {name}: {self.config.nodes} nodes with {self.config.processes} processes", flush=True)
        return True

    def _follow(self, name: str, task: WorkerTask) -> None:
        """Emit the workers' log lines until the TrainJob ends."""
        last: deque[str] = deque(maxlen=400)

        def emit(line: str) -> None:
            print(line, flush=True)
            last.append(line)

        with self.logs.opened(name, emit):
            end, reason, message = self._end(name)
        if end == "Complete":
            return
        if reason == "DeadlineExceeded":
            raise TrainingError(
                f"TrainJob {name} ran longer than {self.limits.run_s} s and was stopped",
                "a retry resumes from the last checkpoint; use more nodes or a smaller size",
            )
        found = failure(task.module, last)
        # A worker's own error is complete; otherwise the cluster may report the cause, such as OOMKilled.
        why = f" (TrainJob {name}: {message})" if found.headline.startswith(task.module) else ""
        raise TrainingError(found.headline + why, found.fix)

    def _end(self, name: str) -> tuple[str, str, str]:
        """Wait for the end of the TrainJob and return its result."""
        waiting = NodesWaiting(self.cluster, name, self.config.nodes)
        while True:
            try:
                for present in self.cluster.follow(TRAIN_JOB, name, min(10.0, self.limits.start_s)):
                    if ended(present)[0]:
                        return ended(present)
            except MissingObject:
                self._check_deleted(name)
            if waiting.seconds() > self.limits.start_s:
                self._never_started(name, waiting)

    def _check_deleted(self, name: str) -> None:
        """Raise if the TrainJob was deleted; a restarted API server may not serve TrainJobs yet."""
        deadline = time.monotonic() + self.limits.back_s
        while True:
            try:
                present = self.cluster.find(TRAIN_JOB, name)
            except MissingObject:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1.0)
                continue
            if present is None:
                raise TrainingError(
                    f"TrainJob {name} was deleted while it ran",
                    "run the step again; it resumes from the last checkpoint",
                )
            return

    def _never_started(self, name: str, waiting: NodesWaiting) -> None:
        reasons = waiting.reasons() or "no reason reported"
        self.cluster.delete(TRAIN_JOB, name)
        raise TrainingError(
            f"{waiting.running} of {self.config.nodes} nodes of TrainJob {name} ran after {self.limits.start_s:.0f} s: "
            f"{reasons}",
            f"check that {self.config.nodes} nodes with these resources are free, that Kubeflow Trainer's controller "
            f"runs, and that the ClusterTrainingRuntime {RUNTIME} is installed (kubectl apply -k manifests/cluster)",
        )

    @contextlib.contextmanager
    def _deleted_when_cancelled(self, name: str) -> Iterator[None]:
        """Delete the TrainJob after SIGTERM (cancelled run, drained node) or Ctrl-C; keep it after errors."""

        def cancel(number: int, _: Any) -> None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            raise SystemExit(128 + number)

        main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGTERM, cancel) if main else None
        try:
            yield
        except (SystemExit, KeyboardInterrupt):
            print(f"cancelled: TrainJob {name} was deleted; its checkpoints are kept", flush=True)
            self.cluster.delete(TRAIN_JOB, name)
            raise
        finally:
            if main:
                signal.signal(signal.SIGTERM, before)
