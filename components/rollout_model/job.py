"""Runs the decisions of a rollout in a Job, which outlives the pipeline's pod; the pipeline's step follows it.

The Job's pod is made after the step's own: image, service account, volumes and environment are the same.
"""

import contextlib
import json
import socket
import time
from dataclasses import dataclass
from typing import Any

from components.shared.cluster.api import Cluster, Manifest
from components.shared.cluster.kinds import JOB
from components.shared.cluster.predictor_pods import last_warning
from components.shared.errors import ChangedObject, ClusterError
from components.shared.progress import report

TASK_VARIABLE = "SHOPRANK_ROLLOUT"
"""Environment variable of the Job's container: parameters of the rollout, JSON."""

_MAIN = "main"
"""Container of a pipeline's pod that runs the step."""

RUN_LABEL = "shoprank.example/run"
"""Label of the Job with the pipeline run that it belongs to."""

KEPT_S = 86_400
"""Seconds that a finished Job is kept, for its log."""


@dataclass(frozen=True)
class RolloutTask:
    """Parameters of a rollout, as the stage gets them.

    Attributes:
        registry: folder or URI. name: model name. version: of the candidate.
        release: options of section `release`. rollout: options of section `rollout`.
    """

    registry: str
    name: str
    version: str
    release: dict[str, Any]
    rollout: dict[str, Any]

    @property
    def job(self) -> str:
        """Name of the Job: a version is rolled out to a service once at a time."""
        return f"{self.release.get('service', 'shoprank')}-rollout-{self.version.rpartition('-')[2]}"

    def to_json(self) -> str:
        """All parameters as text."""
        return json.dumps(self.__dict__, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "RolloutTask":
        """The parameters in a text of to_json."""
        return cls(**json.loads(text))


def run_in_job(cluster: Cluster, task: RolloutTask, poll_s: float = 2.0) -> None:
    """Start the Job of a rollout, or join the one that runs, and wait for its end.

    Args:
        cluster: Namespace of this step's pod.
        task: The rollout.
        poll_s: Seconds between two looks at the Job.

    Raises:
        ClusterError: the Job failed; the message has the end of its log.
    """
    _start(cluster, task)
    while True:
        status = cluster.get(JOB, task.job).get("status", {})
        ended = {one["type"]: one for one in status.get("conditions", []) if one["status"] == "True"}
        if "Complete" in ended:
            return
        if "Failed" in ended:
            said = _log(cluster, task.job) or ended["Failed"].get("message", "")
            raise ClusterError(f"Job {task.job} failed: {said[-1500:]}", f"see `kubectl logs job/{task.job}`")
        waiting = "" if status.get("ready") else last_warning(cluster, task.job)
        report("rollout_model", 0.0, f"following Job {task.job}" + (f": {waiting}" if waiting else ""))
        time.sleep(poll_s)


def _start(cluster: Cluster, task: RolloutTask) -> None:
    own = cluster.read(f"pods/{socket.gethostname()}")
    present = cluster.find(JOB, task.job)
    if present is not None and _ended(present) and present["metadata"].get("labels", {}).get(RUN_LABEL) != run_of(own):
        # Of an earlier rollout of the same version; that of an earlier attempt of this step is the result.
        cluster.delete(JOB, task.job)
        while (present := cluster.find(JOB, task.job)) is not None:
            time.sleep(0.5)
    if present is None:
        with contextlib.suppress(ChangedObject):  # Another attempt of this step was faster.
            cluster.create(JOB, job_manifest(task, own))


def _ended(job: Manifest) -> bool:
    conditions = job.get("status", {}).get("conditions", [])
    return any(one["type"] in ("Complete", "Failed") and one["status"] == "True" for one in conditions)


def run_of(pod: Manifest) -> str:
    """Which pipeline run a pod belongs to, '' outside of one."""
    labels = pod["metadata"].get("labels", {})
    return labels.get("pipeline/runid") or labels.get("workflows.argoproj.io/workflow", "")


def job_manifest(task: RolloutTask, own: Manifest) -> Manifest:
    """The Job that decides a rollout.

    Args:
        task: The rollout.
        own: Pod of the step.
    """
    containers = own["spec"]["containers"]
    main = next((one for one in containers if one["name"] == _MAIN), containers[0])
    volumes = [one for one in own["spec"].get("volumes", []) if _shared(one)]
    names = {one["name"] for one in volumes}
    mounts = [one for one in main.get("volumeMounts", []) if one["name"] in names]
    secure = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True,
              "seccompProfile": {"type": "RuntimeDefault"}} | main.get("securityContext", {})  # fmt: skip
    environment = [one for one in main.get("env", []) if not one["name"].startswith(("ARGO_", "KFP_"))]
    container = {
        "name": "rollout", "image": main["image"], "imagePullPolicy": main.get("imagePullPolicy", "IfNotPresent"),
        "command": ["python", "-m", "components.rollout_model.decide"], "securityContext": secure,
        "env": [*environment, {"name": TASK_VARIABLE, "value": task.to_json()}],
        "envFrom": main.get("envFrom", []), "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "4Gi"}},
        "volumeMounts": [*mounts, {"name": "tmp", "mountPath": "/tmp"}],
    }  # fmt: skip
    names = ("serviceAccountName", "imagePullSecrets", "securityContext", "tolerations")
    copied = {name: own["spec"][name] for name in names if own["spec"].get(name)}
    labels = {"app.kubernetes.io/part-of": "shoprank", "app.kubernetes.io/component": "rollout"}
    return {
        "apiVersion": JOB.api_version, "kind": JOB.kind, 
        "metadata": {"name": task.job, "labels": labels | ({RUN_LABEL: run_of(own)} if run_of(own) else {})},
        "spec": {
            # A lost pod is made anew and resumes; a rollout that ends with an error is not.
            "backoffLimit": 6, "ttlSecondsAfterFinished": KEPT_S,
            "podFailurePolicy": {"rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [2]}}]},
            "template": {"metadata": {"labels": labels}, "spec": {
                **copied, "restartPolicy": "Never", "containers": [container],
                "volumes": [*volumes, {"name": "tmp", "emptyDir": {}}]}},
        },
    }  # fmt: skip


def _shared(volume: Manifest) -> bool:
    """Whether a volume of the step is one that the Job can mount too; the token of the account is mounted anyway."""
    return "persistentVolumeClaim" in volume or (
        ("secret" in volume or "configMap" in volume) and not volume["name"].startswith(("kube-api-access", "kfp-"))
    )


def _log(cluster: Cluster, job: str) -> str:
    """What the containers of the Job said last."""
    said = []
    for pod in cluster.read("pods", labelSelector=f"batch.kubernetes.io/job-name={job}")["items"]:
        for one in pod.get("status", {}).get("containerStatuses", []):
            said.append(one.get("state", {}).get("terminated", {}).get("message", ""))
    return "\n".join(filter(None, said))
