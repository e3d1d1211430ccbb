"""States of a TrainJob's pods: running, pulling, unschedulable or waiting, and why: in the words of the cluster.

Job and JobSet count a pod as active from its creation on, whether it runs or not (seen with Kubernetes 1.36).
"""

from dataclasses import dataclass
from typing import Literal

from components.shared.cluster.api import Cluster, Manifest
from components.shared.errors import ClusterError

JOB_LABEL = "jobset.sigs.k8s.io/jobset-name"
"""Label of every pod of a JobSet; a TrainJob's JobSet has its name."""

NODE_LABEL = "batch.kubernetes.io/job-completion-index"
"""Label with the number of a node."""

CONTAINER = "node"
"""Container in which Kubeflow Trainer runs the workers."""

_NO_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")


@dataclass(frozen=True)
class WorkerPod:
    """A pod of a TrainJob.

    Attributes:
        name: of the pod. state: `running` also when it has ended. reason: why it does not run, '' if unknown.
    """

    name: str
    state: Literal["running", "pulling", "unschedulable", "waiting"]
    reason: str = ""

    def __str__(self) -> str:
        state = {"pulling": "is waiting for its image", "unschedulable": "fits on no node"}.get(self.state)
        return f"{self.name} {state or f'is {self.state}'}{f': {self.reason}' if self.reason else ''}"


def worker_pods(cluster: Cluster, job: str) -> list[WorkerPod]:
    """Return the pods of a TrainJob that are not being deleted.

    Raises:
        ClusterError: the API rejected the request or is unavailable.
    """
    return [_state(cluster, pod) for pod in _pods(cluster, job) if "deletionTimestamp" not in pod["metadata"]]


def has_pods(cluster: Cluster, job: str) -> bool:
    """Whether a TrainJob, which may be gone itself, still has pods; False if they may not be listed."""
    try:
        return bool(_pods(cluster, job))
    except ClusterError:
        return False


def why_no_pods(cluster: Cluster, job: str) -> str:
    """Return why the Job of a TrainJob could not create its pods: a quota or Pod Security; '' if unknown."""
    return _last_event(cluster, f"{job}-{CONTAINER}-0", ("FailedCreate",))


def _pods(cluster: Cluster, job: str) -> list[Manifest]:
    return cluster.read("pods", labelSelector=f"{JOB_LABEL}={job}")["items"]


def _state(cluster: Cluster, pod: Manifest) -> WorkerPod:
    name, status = pod["metadata"]["name"], pod["status"]
    if status.get("phase") != "Pending":
        return WorkerPod(name, "running")
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            state = "unschedulable" if condition.get("reason") == "Unschedulable" else "waiting"
            return WorkerPod(name, state, condition.get("message", ""))
    states = [one["state"] for one in status.get("containerStatuses", [])]
    waiting = next((one["waiting"] for one in states if "waiting" in one), {})
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    said = f"{reason}: {message}".strip(": ")
    if reason in _NO_IMAGE:
        return WorkerPod(name, "pulling", said)
    if reason not in ("", "ContainerCreating", "PodInitializing"):
        return WorkerPod(name, "waiting", said)
    # These stand for volumes and for the image; only events tell which.
    event = _last_event(cluster, name)
    return WorkerPod(name, "pulling" if event.startswith("Pulling") else "waiting", event or said)


def _last_event(cluster: Cluster, name: str, reasons: tuple[str, ...] = ()) -> str:
    """Return `reason: message` of the newest event of an object, '' if there is none or events may not be read."""
    try:
        events = cluster.read("events", fieldSelector=f"involvedObject.name={name}")["items"]
    except ClusterError:
        return ""
    chosen = [one for one in events if not reasons or one["reason"] in reasons]
    last = max(chosen, key=lambda one: one.get("lastTimestamp") or one.get("eventTime") or "", default=None)
    return f"{last['reason']}: {last['message']}" if last else ""
