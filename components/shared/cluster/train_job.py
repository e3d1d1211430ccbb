"""A Kubeflow Trainer TrainJob (API of Trainer 2.3) for a training run: name, manifest, result."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.shared.cluster.api import Manifest
from components.shared.cluster.kinds import TRAIN_JOB
from components.shared.cluster.worker_pods import CONTAINER
from components.shared.errors import InputError
from components.shared.images import PULL_SECRET, TRAIN_IMAGE
from components.shared.training.exchange import SharedFolder
from components.shared.training.launch import KEPT_MEMORY, LaunchConfig, PodSettings, WorkerTask

RUNTIME = "shoprank-torchrec"
"""ClusterTrainingRuntime of manifests/cluster."""

DIGEST_LABEL = "shoprank.example/digest"
"""Label with the digest of settings and inputs."""

RUN_VARIABLE = "KFP_RUN_ID"
"""Environment variable with the id of the pipeline run; pipelines/resources.py sets it."""
_OWN = {"app.kubernetes.io/part-of": "shoprank"}


def job_name(task: WorkerTask, run: str) -> str:
    """Return a deterministic name (RFC 1035), so that a retry of the same step finds its TrainJob.

    Args:
        task: The training task.
        run: Id of the pipeline run; '' shares the TrainJob between identical trainings.
    """
    digest = hashlib.sha256(f"{task.module} {task.digest} {run}".encode()).hexdigest()[:10]
    return f"{task.stage.replace('_', '-')}-{digest}"


def train_job(task: WorkerTask, config: LaunchConfig, name: str, job: str, run_s: int) -> Manifest:
    """Build the TrainJob that runs `task` on `config.nodes` nodes.

    torchrun takes its flags from PET_* variables that Trainer sets in the container `node`.

    Args:
        task: The training task.
        config: Nodes, processes, and what the nodes inherit from the step's pod.
        name: Name of the TrainJob.
        job: Path or URI of the worker's job, as the nodes see it.
        run_s: Maximum run time in seconds.

    Raises:
        InputError: GPUs are requested, but the step's pod does not specify their resource name.
    """
    pod = config.pod
    patch = {
        "imagePullSecrets": [{"name": PULL_SECRET}] if PULL_SECRET else [],
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
        "numProcPerNode": config.processes, "resourcesPerNode": _resources(config),
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
    """Environment variables of the step, except those about the step itself and those set by Trainer."""
    own = {"PYTHONUNBUFFERED": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    own |= {"OMP_NUM_THREADS": str(config.threads)} if config.threads else {}
    inherited = [
        dict(one) for one in pod.env
        if one["name"] not in own and one["name"] != RUN_VARIABLE and not one["name"].startswith("PET_")
    ]  # fmt: skip
    given = {one["name"] for one in inherited}
    own |= {name: value for name, value in KEPT_MEMORY.items() if name not in given}
    return inherited + [{"name": name, "value": value} for name, value in own.items()]


def _resources(config: LaunchConfig) -> dict[str, Any]:
    """CPU and memory of a node, and accelerators of the step's type: `node_gpus`, or as many as the step has."""
    gpus, kept = config.node_gpus, {}
    for part in ("requests", "limits"):
        step = dict(config.pod.resources.get(part) or {})
        devices = {name: str(gpus or count) for name, count in step.items() if "/" in name}
        kept[part] = {"cpu": config.node_cpu, "memory": config.node_memory} | {
            name: count for name, count in devices.items() if count != "0"
        }
    if gpus and not any("/" in name for name in kept["limits"]):
        raise InputError(
            f"node_gpus is {gpus}, but the step has no accelerator type",
            "set the accelerator's type on the task (its own limit may be 0), or node_gpus to 0",
        )
    return kept


def _owners() -> list[dict[str, Any]]:
    """Owner reference to the step's pod, so that the TrainJob is deleted with it; none outside a pod."""
    name, uid = os.environ.get("KFP_POD_NAME", ""), os.environ.get("KFP_POD_UID", "")
    return [{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}] if name and uid else []


def check_exchange(config: LaunchConfig) -> Path | None:
    """Check that the nodes can access the exchange, and return where its volume is mounted; None for an object store.

    Raises:
        InputError: the exchange is empty, or is a path that is not on a shared volume of the step.
    """
    if not config.exchange:
        raise InputError(
            "exchange is empty with launch=trainjob, so the nodes have no access to data and model",
            "give a folder on a volume of the step, such as /mnt/shoprank/exchange, or s3://bucket/prefix",
        )
    claims = {one["name"] for one in config.pod.volumes if "persistentVolumeClaim" in one or "nfs" in one}
    mounts = [one["mountPath"] for one in config.pod.volume_mounts if one["name"] in claims]
    if SharedFolder(config.exchange).remote:
        return None
    for mount in mounts:
        if Path(config.exchange).is_relative_to(mount):
            return Path(mount)
    raise InputError(
        f"exchange is {config.exchange}, which is not on a volume shared with the nodes",
        f"give a folder below one of: {', '.join(mounts) or 'none is mounted'}; or s3://bucket/prefix",
    )


def ended(job: Manifest) -> tuple[str, str, str]:
    """Return (Complete or Failed, reason, message) of a finished TrainJob; empty strings before the end."""
    for condition in job.get("status", {}).get("conditions", []):
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return condition["type"], condition["reason"], condition["message"]
    return "", "", ""


def all_ready(job: Manifest) -> bool:
    """Whether all pods of the TrainJob are ready or have succeeded; `active` would count pods that wait for a node."""
    return any(one["ready"] or one["succeeded"] for one in job.get("status", {}).get("jobsStatus", []))
