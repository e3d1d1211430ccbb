"""Training on several nodes as a Kubeflow Trainer TrainJob (API of Trainer 2.3): its body, and a run from end to end.

A step that was killed finds its TrainJob again by its name; one that was cancelled takes it away.
"""

import contextlib
import hashlib
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.cluster.api import Cluster, Manifest
from components.cluster.kinds import TRAIN_JOB
from components.cluster.pods import CONTAINER, WorkerLogs
from components.shared.errors import ChangedObject, ClusterError, InputError, MissingObject, TrainingError
from components.shared.images import TRAIN_IMAGE
from components.shared.training.exchange import SharedFolder
from components.shared.training.launch import LaunchConfig, PodSettings, WorkerTask, failure

RUNTIME = "shoprank-torchrec"
"""ClusterTrainingRuntime of manifests/cluster."""

DIGEST_LABEL = "shoprank.example/digest"
"""Label with the digest of settings and inputs."""

_RUN = "KFP_RUN_ID"
_OWN = {"app.kubernetes.io/part-of": "shoprank"}


@dataclass(frozen=True, kw_only=True)
class TrainJobLimits:
    """How long a TrainJob may take, in seconds."""

    start_s: float = 3600.0
    """Until a worker runs; a queue counts."""
    run_s: int = 7 * 86_400
    """From its start to its end; the cluster keeps to it even when nobody looks."""
    gone_s: float = 120.0
    """For one that is being deleted to be gone."""


def job_name(task: WorkerTask, run: str) -> str:
    """Name (RFC 1035) that a retry of the same step finds again.

    Args:
        task: What is trained.
        run: Id of the pipeline run; '' means that whoever trains the same shares the TrainJob.
    """
    digest = hashlib.sha256(f"{task.module} {task.digest} {run}".encode()).hexdigest()[:10]
    return f"{task.stage.replace('_', '-')}-{digest}"


def train_job(task: WorkerTask, config: LaunchConfig, name: str, job: str, run_s: int) -> Manifest:
    """The TrainJob that runs `task` on `config.nodes` nodes.

    torchrun takes its flags from PET_* variables that Trainer sets in the container `node`.

    Args:
        task: What is trained.
        config: Nodes, processes, and what the nodes inherit from the step's pod.
        name: Of the TrainJob.
        job: Path or URI of the worker's job, as the nodes see it.
        run_s: Seconds it may run.
    """
    pod = config.pod
    patch = {
        "tolerations": list(pod.tolerations), "nodeSelector": dict(pod.node_selector), "affinity": dict(pod.affinity),
        "volumes": list(pod.volumes),
        "containers": [{"name": CONTAINER, "volumeMounts": list(pod.volume_mounts)}] if pod.volume_mounts else [],
    }  # fmt: skip
    node = {"name": CONTAINER, "template": {"spec": {"template": {"spec": _given(patch)}}}}
    runtime = {"template": {"spec": {"replicatedJobs": [node]}}}
    patches = [{"manager": "shoprank.example/pipeline", "trainingRuntimeSpec": runtime}] if _given(patch) else []
    trainer = {
        "image": TRAIN_IMAGE, "command": ["python", "-m", "torch.distributed.run", "-m", task.module],
        "args": ["--job", job], "env": _env(pod, config), "numNodes": config.nodes,
        "numProcPerNode": config.processes, "resourcesPerNode": _resources(pod, config.node_gpus),
    }  # fmt: skip
    return {
        "apiVersion": TRAIN_JOB.api_version, "kind": TRAIN_JOB.kind,
        "metadata": {"name": name, "ownerReferences": _owners(),
                     "labels": {**_OWN, "app.kubernetes.io/name": task.stage, DIGEST_LABEL: task.digest}},
        "spec": {"runtimeRef": {"name": RUNTIME}, "activeDeadlineSeconds": run_s, "trainer": _given(trainer),
                 "runtimePatches": patches},
    }  # fmt: skip


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def _env(pod: PodSettings, config: LaunchConfig) -> list[dict[str, Any]]:
    """The step's variables, but for those that speak of the step itself or that Trainer sets."""
    own = {"PYTHONUNBUFFERED": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    own |= {"OMP_NUM_THREADS": str(config.threads)} if config.threads else {}
    inherited = [
        dict(one) for one in pod.env
        if one["name"] not in own and one["name"] != _RUN and not one["name"].startswith("PET_")
    ]  # fmt: skip
    return inherited + [{"name": name, "value": value} for name, value in own.items()]


def _resources(pod: PodSettings, gpus: int) -> dict[str, Any]:
    """The step's resources; with `gpus` that many of the accelerator the step names, even when itself has none."""
    kept: dict[str, dict[str, Any]] = {}
    for part in ("requests", "limits"):
        kept[part] = dict(pod.resources.get(part) or {})
        for name in [name for name in kept[part] if "/" in name]:
            kept[part][name] = str(gpus) if gpus else kept[part][name]
            if kept[part][name] in ("0", 0):
                del kept[part][name]
    if gpus and not any("/" in name for name in kept["limits"]):
        raise InputError(
            f"node_gpus is {gpus}, but the step names no accelerator",
            "set the accelerator's type on the task (its own limit may be 0), or node_gpus to 0",
        )
    return _given(kept)


def _owners() -> list[dict[str, Any]]:
    """The step's pod, so that the TrainJob goes with it; none outside a pod."""
    name, uid = os.environ.get("KFP_POD_NAME", ""), os.environ.get("KFP_POD_UID", "")
    return [{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}] if name and uid else []


def _check_exchange(config: LaunchConfig) -> None:
    """Refuse an exchange that the nodes would not see."""
    if not config.exchange:
        raise InputError(
            "exchange is empty with launch=trainjob, so its nodes would see neither data nor model",
            "name a folder on a volume of the step, such as /mnt/shoprank/exchange, or s3://bucket/prefix",
        )
    claims = {one["name"] for one in config.pod.volumes if "persistentVolumeClaim" in one or "nfs" in one}
    mounts = [one["mountPath"] for one in config.pod.volume_mounts if one["name"] in claims]
    if not SharedFolder(config.exchange).remote and not any(
        Path(config.exchange).is_relative_to(mount) for mount in mounts
    ):
        raise InputError(
            f"exchange is {config.exchange}, which lies on no volume of the step that its nodes share",
            f"name a folder below one of: {', '.join(mounts) or 'none is mounted'}; or s3://bucket/prefix",
        )


def ended(job: Manifest) -> tuple[str, str, str]:
    """(Complete or Failed, reason, message) of a TrainJob that has ended; three '' before."""
    for condition in job.get("status", {}).get("conditions", []):
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return condition["type"], condition["reason"], condition["message"]
    return "", "", ""


def _runs(job: Manifest) -> bool:
    return any(one["active"] or one["ready"] for one in job.get("status", {}).get("jobsStatus", []))


@dataclass(frozen=True, kw_only=True)
class TrainJobLauncher:
    """Launches workers as a TrainJob and stays with it to its end.

    Attributes:
        cluster: where it runs. logs: where its workers' lines come from. config: nodes, processes, exchange.
        limits: how long it may take.
    """

    cluster: Cluster
    logs: WorkerLogs
    config: LaunchConfig
    limits: TrainJobLimits = TrainJobLimits()

    def run(self, task: WorkerTask, work: Path) -> None:
        """Hand the inputs over, train, and take the results back to `work`; checkpoints stay until that succeeds.

        Raises:
            InputError: the exchange cannot be used.
            TrainingError: training failed, did not start in time or was taken away; says the worker's last words.
            ClusterError: the API refused the TrainJob, or stays away; a retried step finds the TrainJob again.
        """
        _check_exchange(self.config)
        name = job_name(task, os.environ.get(_RUN, ""))
        folder = SharedFolder(self.config.exchange) / task.stage / name
        self._hand_over(task, folder)
        body = train_job(task, self.config, name, f"{folder}/job.json", self.limits.run_s)
        with self._deleted_when_cancelled(name):
            self._submit(body, folder, task)
            self._follow(name, task)
        for result in task.results:
            (folder / "run").take(result, work / result)
        folder.remove()

    def _hand_over(self, task: WorkerTask, folder: SharedFolder) -> None:
        """Inputs first, the job's file last: where that is, a step before this one has handed all of it over."""
        if folder.exists("job.json"):
            return
        for field, inputs in task.inputs.items():
            for file in inputs.files:
                (folder / field).put(inputs.folder / file, file)
        places = {field: str(folder / field) for field in task.inputs}
        folder.write_json("job.json", {**task.settings, **places, "folder": str(folder / "run")})

    def _submit(self, body: Manifest, folder: SharedFolder, task: WorkerTask) -> None:
        """Create the TrainJob, or take over the one of an earlier attempt; one that failed is replaced."""
        name, labels = body["metadata"]["name"], body["metadata"]["labels"]
        deadline = time.monotonic() + self.limits.gone_s
        while time.monotonic() < deadline:
            with contextlib.suppress(ChangedObject):
                self.cluster.create(TRAIN_JOB, body)
                print(f"TrainJob {name}: {self.config.nodes} nodes with {self.config.processes} processes", flush=True)
                return
            present = self.cluster.find(TRAIN_JOB, name)
            if present is None:
                continue
            if not labels.items() <= present["metadata"].get("labels", {}).items():
                raise ClusterError(
                    f"TrainJob {name} exists and is not ours", f"delete it: kubectl delete trainjob {name}"
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
                print(f"TrainJob {name} of an earlier attempt goes on", flush=True)
                return
        raise ClusterError(
            f"TrainJob {name} of an earlier attempt is not gone after {self.limits.gone_s:.0f} s",
            f"see which finalizer holds it: kubectl get trainjob {name} -o yaml",
        )

    def _follow(self, name: str, task: WorkerTask) -> None:
        """Pass the workers' lines on until the TrainJob has ended."""
        last: deque[str] = deque(maxlen=400)

        def emit(line: str) -> None:
            print(line, flush=True)
            last.append(line)

        with self.logs.opened(name, emit):
            end, reason, message = self._end(name, last)
        if end == "Complete":
            return
        if reason == "DeadlineExceeded":
            raise TrainingError(
                f"TrainJob {name} ran longer than {self.limits.run_s} s and was ended",
                "a retry goes on from its last checkpoint; use more nodes or a smaller size",
            )
        said = failure(task.module, last)
        why = "" if said.headline in "\n".join(last) and not said.headline.startswith(task.module) else message
        raise TrainingError(said.headline + (f" (TrainJob {name}: {why})" if why else ""), said.mend)

    def _end(self, name: str, last: deque[str]) -> tuple[str, str, str]:
        """How the TrainJob ended."""
        begun, started = time.monotonic(), False
        try:
            while True:
                for present in self.cluster.follow(TRAIN_JOB, name, min(10.0, self.limits.start_s)):
                    if ended(present)[0]:
                        return ended(present)
                    started = started or _runs(present) or bool(last)
                if not started and not last and time.monotonic() - begun > self.limits.start_s:
                    self._never_started(name)
        except MissingObject as error:
            raise TrainingError(
                f"TrainJob {name} was deleted while it ran", "run the step again; it goes on from the last checkpoint"
            ) from error

    def _never_started(self, name: str) -> None:
        conditions = self.cluster.get(TRAIN_JOB, name).get("status", {}).get("conditions", [])
        said = [one["message"] for one in conditions if one["status"] == "True"] + [self.logs.why_waiting(name)]
        self.cluster.delete(TRAIN_JOB, name)
        raise TrainingError(
            f"no worker of TrainJob {name} ran within {self.limits.start_s:.0f} s: "
            f"{'; '.join(part for part in said if part) or 'the cluster says nothing about it'}",
            f"check that {self.config.nodes} nodes with these resources exist, that the ClusterTrainingRuntime {RUNTIME} "
            "is installed (kubectl apply -k manifests/cluster), and that Kubeflow Trainer's controller runs",
        )

    @contextlib.contextmanager
    def _deleted_when_cancelled(self, name: str) -> Iterator[None]:
        """SIGTERM (a cancelled run, a drained node) and Ctrl-C take the TrainJob away; errors leave it to a retry."""

        def cancel(number: int, _: Any) -> None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            raise SystemExit(128 + number)

        main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGTERM, cancel) if main else None
        try:
            yield
        except (SystemExit, KeyboardInterrupt):
            print(f"cancelled: TrainJob {name} is deleted; its checkpoints stay", flush=True)
            self.cluster.delete(TRAIN_JOB, name)
            raise
        finally:
            if main:
                signal.signal(signal.SIGTERM, before)
