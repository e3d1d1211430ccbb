"""An InferenceService of ours: its manifest, what its status says, and waiting for the generation that was written."""

import contextlib
import time
from dataclasses import dataclass
from typing import Any, Literal

from components.shared.cluster.api import Cluster, Manifest
from components.shared.cluster.kinds import INFERENCE_SERVICE
from components.shared.errors import InputError, ServingError
from components.shared.release.bundle import FORMAT_VERSION
from components.shared.release.config import ReleaseOptions

Mode = Literal["Standard", "Knative"]

VERSION_ANNOTATION = "shoprank.example/version"
"""Version of the registry that the stable predictor serves."""
MODEL_ANNOTATION = "shoprank.example/model"
"""Name of the model in the registry."""
_MODE = "serving.kserve.io/deploymentMode"


@dataclass(frozen=True, kw_only=True)
class ServiceSpec:
    """What the InferenceService of a model is, apart from the version it serves."""

    name: str = "shoprank"
    """Of the InferenceService."""
    model: str
    """Name in the registry."""
    storage: str = "pvc://shoprank-registry/registry"
    """URI of the registry's folder as KServe's storage initializer reads it; KFP's minio:// is taken as s3://."""
    mode: Mode = "Standard"
    """KServe's deployment mode; it cannot change after creation."""
    runtime: str = "shoprank"
    """ServingRuntime."""
    service_account: str = "shoprank-predictor"
    """Whom the pods run as; its secrets hold the object store's credentials."""
    confidential: str = ""
    """Resource id of the key (kbs:///...) when the bundles in `storage` are encrypted; '' when they are not."""
    min_replicas: int = 2
    """Pods at least; with one, draining its node is an outage."""
    max_replicas: int = 4
    """Pods at most, scaled by processor use."""

    @classmethod
    def of(cls, release: ReleaseOptions, model: str) -> "ServiceSpec":
        """What the section `release` says of the InferenceService of a model."""
        return cls(
            name=release.service, model=model, storage=release.storage, mode=release.mode,
            confidential=release.confidential,
        )  # fmt: skip

    def uri(self, version: str) -> str:
        """`storageUri` of a version."""
        # Kubeflow Pipelines names its object store minio://, which KServe does not know.
        base = "s3://" + self.storage.removeprefix("minio://") if self.storage.startswith("minio://") else self.storage
        return f"{base.rstrip('/')}/{self.model}/versions/{version}"

    def version_of(self, uri: str) -> str:
        """Version that a `storageUri` of ours names, '' when it is not of this model."""
        folder, _, version = uri.rpartition("/")
        return version if folder.endswith(f"/{self.model}/versions") else ""


def predictor(spec: ServiceSpec, version: str) -> Manifest:
    """The stable predictor; security settings are those of the runtime, said again for the pod."""
    return {
        "serviceAccountName": spec.service_account,
        "automountServiceAccountToken": False,
        "minReplicas": spec.min_replicas,
        "maxReplicas": spec.max_replicas,
        "scaleMetric": "cpu",
        "scaleTarget": 70,
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"},
        },
        "model": served_model(spec, version),
    }  # fmt: skip


def served_model(spec: ServiceSpec, version: str) -> Manifest:
    """The `model:` of a predictor."""
    key = {"confidential": {"enabled": True, "resourceId": spec.confidential}} if spec.confidential else {}
    return {
        "modelFormat": {"name": "shoprank", "version": str(FORMAT_VERSION)}, "runtime": spec.runtime,
        "protocolVersion": "v2", "storageUri": spec.uri(version), **key,
    }  # fmt: skip


def manifest(spec: ServiceSpec, version: str) -> Manifest:
    """A new InferenceService that serves one version."""
    # An autoscaler class is for Standard mode; Knative brings its own.
    scaling = {"serving.kserve.io/autoscalerClass": "hpa"} if spec.mode == "Standard" else {}
    stable = predictor(spec, version)
    if spec.mode == "Knative":
        del stable["scaleMetric"], stable["scaleTarget"]
        scaling = {"serving.kserve.io/enable-tag-routing": "true"}
    return {
        "apiVersion": INFERENCE_SERVICE.api_version,
        "kind": INFERENCE_SERVICE.kind,
        "metadata": {
            "name": spec.name,
            "labels": {"app.kubernetes.io/part-of": "shoprank"},
            "annotations": {_MODE: spec.mode, MODEL_ANNOTATION: spec.model, VERSION_ANNOTATION: version, **scaling},
        },
        "spec": {"predictor": stable},
    }


def check_mode(service: Manifest, spec: ServiceSpec) -> None:
    """Refuse to work on a service of the other mode: fields of one are ignored in silence by the other.

    Raises:
        InputError: the service was created in another mode, or serves another model.
    """
    annotations = service["metadata"].get("annotations", {})
    legacy = {"RawDeployment": "Standard", "Serverless": "Knative"}
    found = annotations.get(_MODE, "Standard")
    if legacy.get(found, found) != spec.mode:
        raise InputError(f"InferenceService {spec.name} is in mode {found}, not {spec.mode}", f"set mode to {found}")
    model = annotations.get(MODEL_ANNOTATION, spec.model)
    if model != spec.model:
        raise InputError(
            f"InferenceService {spec.name} serves model '{model}', not '{spec.model}'", "name a service of its own"
        )


def condition(service: Manifest, kind: str) -> Manifest:
    """One condition of the status, {} when it is not there."""
    return next((one for one in service.get("status", {}).get("conditions", []) if one["type"] == kind), {})


def is_ready(service: Manifest, kind: str = "Ready") -> bool:
    """Whether the controller has seen the newest generation and calls the condition true."""
    seen = service.get("status", {}).get("observedGeneration", 0) >= service["metadata"].get("generation", 0)
    return seen and condition(service, kind).get("status") == "True"


def wait_ready(cluster: Cluster, name: str, generation: int, seconds: float, kind: str = "Ready") -> Manifest:
    """Wait until the generation that was written, or a newer one, is Ready; an older Ready does not count.

    Raises:
        ServingError: not ready in time, or the model failed to load; says what the status says.
        ClusterError: the API refused or is away.
    """
    started, present = time.monotonic(), {}
    with contextlib.closing(cluster.follow(INFERENCE_SERVICE, name, seconds)) as changes:
        for present in changes:
            if present["metadata"].get("generation", 0) >= generation and is_ready(present, kind):
                return present
            failure = load_failure(present)
            if failure:
                raise ServingError(f"InferenceService {name}: the model failed to load: {failure}", _look(name))
    raise ServingError(
        f"InferenceService {name} was not ready within {time.monotonic() - started:.0f} s: {said(present, kind)}",
        _look(name),
    )


def load_failure(service: Manifest) -> str:
    """Why KServe says that a model of this very generation cannot be loaded, '' when it does not."""
    status = service.get("status", {})
    if status.get("observedGeneration", 0) < service["metadata"].get("generation", 0):
        return ""
    states = [status.get("modelStatus", {}), *(one.get("modelStatus", {}) for one in status.get("canaryStatuses", []))]
    for state in states:
        if state.get("transitionStatus") in ("BlockedByFailedLoad", "InvalidSpec"):
            info = state.get("lastFailureInfo", {})
            return ": ".join(str(info[part]) for part in ("reason", "message") if info.get(part)) or str(state)
    return ""


def said(service: Manifest, kind: str = "Ready") -> str:
    """What the status says, in one line."""
    found = condition(service, kind)
    if not found:
        return f"no condition {kind}; is KServe's controller running?"
    words = [f"{found.get(part)}" for part in ("reason", "message") if found.get(part)]
    observed = service.get("status", {}).get("observedGeneration", 0)
    stale = "" if observed >= service["metadata"].get("generation", 0) else ", of an older generation"
    return f"{kind} is {found['status']}{stale}" + (f" ({': '.join(words)})" if words else "")


def address(service: Manifest) -> str:
    """URL inside the cluster, '' when the status has none yet."""
    status: dict[str, Any] = service.get("status", {})
    return status.get("address", {}).get("url") or status.get("url", "")


def _look(name: str) -> str:
    return f"see `kubectl describe inferenceservice {name}` and the logs of its predictor pods"
