"""What serves: a predictor's Deployment and pods, and the version that each pod itself reports.

KServe's own conditions do not tell. `observedGeneration` of an InferenceService is that of a Deployment, Ready stays
True while old pods answer, and a container that exits at its start counts as in progress (seen with KServe 0.20).
"""

import contextlib
import time
from dataclasses import dataclass

import httpx

from components.shared.cluster.api import Cluster, Manifest
from components.shared.cluster.kinds import DEPLOYMENT, INFERENCE_SERVICE
from components.shared.errors import ClusterError, MissingObject, ServingError

SOURCE_ANNOTATION = "internal.serving.kserve.io/storage-initializer-sourceuri"
"""KServe's annotation of a pod with the URI of its model."""

PORT = 8080
"""REST port of a predictor pod (manifests/base/serving-runtime.yaml)."""

_SETTLED_S = 10.0
"""A failure that may pass counts after so many seconds."""

_HOPELESS = (
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
)


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A predictor of an InferenceService: the stable one or the candidate.

    Attributes:
        service: name of the InferenceService, also of the model in URLs.
        deployment: name of KServe's Deployment.
        uri: `storageUri` that its pods should serve. version: version of that bundle.
    """

    service: str
    deployment: str
    uri: str
    version: str


@dataclass(frozen=True)
class State:
    """State of a predictor.

    Attributes:
        ready: every pod serves the version.
        why: what is missing, if it is not ready. failure: why waiting will not help, '' if it may.
        settled: whether that is sure already; KServe says it also of a runtime that it is about to see.
    """

    ready: bool
    why: str = ""
    failure: str = ""
    settled: bool = True


def predictor_state(cluster: Cluster, wanted: Predictor) -> State:
    """Look at Deployment, pods and, when all are available, at each pod's own answer.

    Raises:
        ClusterError: the API rejected a request or is unavailable.
    """
    deployment = read_deployment(cluster, wanted.deployment)
    if deployment is None:
        said = _service_failure(cluster, wanted)
        return State(False, said or f"KServe has not made Deployment {wanted.deployment} yet", said, settled=False)
    if _source(deployment) != wanted.uri:
        return State(False, f"KServe has not updated Deployment {wanted.deployment} to {wanted.uri} yet")
    pods = _pods(cluster, wanted)
    failures = [found for pod in pods if (found := _failure(pod))]
    if said := "; ".join(failures) or _refused(deployment):
        return State(False, said, said)
    missing = _missing(deployment)
    if missing:
        waiting = [found for pod in pods if (found := _waiting(cluster, pod))]
        return State(False, f"{missing}: {'; '.join(waiting)}" if waiting else missing)
    for pod in pods:
        found = reported_version(cluster, pod, wanted.service)
        if found != wanted.version:
            return State(False, f"pod {pod['metadata']['name']} reports {found or 'no version'}, not {wanted.version}")
    return State(bool(pods), "" if pods else f"Deployment {wanted.deployment} has no pods")


def wait_until_serving(cluster: Cluster, wanted: Predictor, seconds: float, poll_s: float = 0.5) -> None:
    """Wait until every pod of a predictor reports its version.

    Raises:
        ServingError: it was not ready in time, or never will be; the message has the pod's or KServe's own words.
        ClusterError: the API rejected a request or is unavailable.
    """
    deadline, failed = time.monotonic() + seconds, 0.0
    while not (state := predictor_state(cluster, wanted)).ready:
        failed = (failed or time.monotonic()) if state.failure else 0.0
        if state.failure and (state.settled or time.monotonic() - failed > _SETTLED_S):
            raise ServingError(f"{wanted.deployment} cannot serve {wanted.version}: {state.failure}", _look(wanted))
        if time.monotonic() > deadline:
            raise ServingError(
                f"{wanted.deployment} did not serve {wanted.version} within {seconds:.0f} s: {state.why}", _look(wanted)
            )
        time.sleep(poll_s)


def reported_version(cluster: Cluster, pod: Manifest, model: str) -> str:
    """The version that a pod names in its V2 metadata, '' if it does not answer.

    Inside the cluster the pod is asked directly, elsewhere through the API server.
    """
    path = f"v2/models/{model}"
    try:
        if cluster.inside:
            with httpx.Client(trust_env=False, timeout=5) as client:
                answer = client.get(f"http://{pod['status']['podIP']}:{PORT}/{path}").raise_for_status().json()
        else:
            answer = cluster.read(f"pods/{pod['metadata']['name']}:{PORT}/proxy/{path}", patient=False)
        return (answer.get("versions") or [""])[0]
    except (httpx.HTTPError, ClusterError, ValueError):
        return ""


def read_deployment(cluster: Cluster, name: str) -> Manifest | None:
    """Return a Deployment, or None. The right to list them, which `Cluster.find` needs, is not given to the steps."""
    with contextlib.suppress(MissingObject):
        return cluster.get(DEPLOYMENT, name)
    return None


def _source(deployment: Manifest) -> str:
    return deployment["spec"]["template"]["metadata"].get("annotations", {}).get(SOURCE_ANNOTATION, "")


def _service_failure(cluster: Cluster, wanted: Predictor) -> str:
    """KServe's own words when it could not make the Deployment, such as a runtime that does not exist."""
    with contextlib.suppress(MissingObject):
        status = cluster.get(INFERENCE_SERVICE, wanted.service).get("status", {})
        info = status.get("modelStatus", {}).get("lastFailureInfo", {})
        return ": ".join(str(info[part]) for part in ("reason", "message") if info.get(part))
    return ""


def _condition(deployment: Manifest, kind: str) -> Manifest:
    return next((one for one in deployment.get("status", {}).get("conditions", []) if one["type"] == kind), {})


def _refused(deployment: Manifest) -> str:
    """Why admission refuses pods that a Deployment lacks, '' if it does not."""
    status = deployment.get("status", {})
    lacks = status.get("updatedReplicas", 0) < deployment["spec"].get("replicas", 1)
    # The condition also tells of the version before, until the controller has looked again and that one has no pods.
    if status.get("observedGeneration", 0) < deployment["metadata"]["generation"] or not lacks:
        return ""
    refused = _condition(deployment, "ReplicaFailure")
    return str(refused.get("message")) if refused.get("status") == "True" else ""


def _missing(deployment: Manifest) -> str:
    """What a Deployment lacks to be rolled out completely, '' if nothing."""
    name, status, wanted = (
        deployment["metadata"]["name"],
        deployment.get("status", {}),
        deployment["spec"].get("replicas", 1),
    )
    if status.get("observedGeneration", 0) < deployment["metadata"]["generation"]:
        return f"Deployment {name} is not observed yet"
    for count in ("updatedReplicas", "availableReplicas", "replicas"):
        if status.get(count, 0) != wanted:
            return f"Deployment {name} has {status.get(count, 0)} {count} of {wanted}"
    return ""


def _pods(cluster: Cluster, wanted: Predictor) -> list[Manifest]:
    """The pods that should serve the URI, without those that are ending."""
    listed = cluster.read("pods", labelSelector=f"app=isvc.{wanted.deployment}")["items"]
    return [
        pod for pod in listed
        if "deletionTimestamp" not in pod["metadata"]
        and pod["metadata"].get("annotations", {}).get(SOURCE_ANNOTATION) == wanted.uri
    ]  # fmt: skip


def _containers(pod: Manifest) -> list[Manifest]:
    status = pod.get("status", {})
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


def _failure(pod: Manifest) -> str:
    """Why a pod will not serve: what its container said before it ended, or why it cannot be started."""
    for one in _containers(pod):
        waiting = one["state"].get("waiting", {})
        ended = one["state"].get("terminated") or one.get("lastState", {}).get("terminated") or {}
        again = ended.get("exitCode") and one["restartCount"] > 0 and not one["ready"]
        if waiting.get("reason") in _HOPELESS or again:
            said = (ended.get("message") or ended.get("reason") or "").strip()[-1000:]
            last = f"it ended with {ended['exitCode']}: {said}" if ended else ""
            why = last or f"{waiting.get('reason')}: {waiting.get('message', '')}"
            return f"pod {pod['metadata']['name']}, container {one['name']}: {why}"
    return ""


def _waiting(cluster: Cluster, pod: Manifest) -> str:
    """Why a pod is not available yet: the scheduler's, the kubelet's or a container's words, '' if it just starts."""
    name, status = pod["metadata"]["name"], pod.get("status", {})
    for one in status.get("conditions", []):
        if one["type"] == "PodScheduled" and one["status"] == "False":
            return f"pod {name} is not scheduled: {one.get('message', '')}"
    for one in _containers(pod):
        waiting = one["state"].get("waiting", {})
        if waiting and waiting.get("reason") not in ("ContainerCreating", "PodInitializing"):
            return f"pod {name}: {waiting.get('reason')}: {waiting.get('message', '')}"
    warning = last_warning(cluster, name) if status.get("phase") == "Pending" else ""
    return f"pod {name}: {warning}" if warning else ""


def last_warning(cluster: Cluster, name: str) -> str:
    """Message of an object's latest warning event, '' if there is none or events cannot be read."""
    try:
        events = cluster.read("events", fieldSelector=f"involvedObject.name={name},type=Warning")["items"]
    except ClusterError:
        return ""
    found = sorted(events, key=lambda one: one.get("lastTimestamp") or one.get("eventTime") or "")
    return f"{found[-1]['reason']}: {found[-1]['message']}" if found else ""


def _look(wanted: Predictor) -> str:
    return f"see `kubectl describe pods -l app=isvc.{wanted.deployment}` and their logs"
