"""InferenceServices: the manifest, the status, and waiting for a generation to become ready."""

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

MODEL_ANNOTATION = "shoprank.example/model"
"""Name of the model in the registry."""
_MODE = "serving.kserve.io/deploymentMode"


@dataclass(frozen=True, kw_only=True)
class ServiceSpec:
    """The InferenceService of a model, apart from the served version."""

    name: str = "shoprank"
    """Name of the InferenceService."""
    model: str
    """Name of the model in the registry."""
    storage: str = "pvc://shoprank-registry/registry"
    """URI of the registry's folder for KServe's storage initializer; KFP's minio:// is converted to s3://."""
    mode: Mode = "Standard"
    """KServe's deployment mode; it cannot change after creation."""
    runtime: str = "shoprank"
    """ServingRuntime."""
    service_account: str = "shoprank-predictor"
    """ServiceAccount of the pods; its secrets hold the object store's credentials."""
    confidential: str = ""
    """Resource id of the key (kbs:///...) when the bundles in `storage` are encrypted; else ''."""
    min_replicas: int = 2
    """Minimum number of pods; with 1, draining its node causes an outage."""
    max_replicas: int = 4
    """Maximum number of pods, scaled by CPU utilisation."""

    @classmethod
    def of(cls, release: ReleaseOptions, model: str, registry: str = "") -> "ServiceSpec":
        """The spec from the options in section `release`; predictors read an s3:// registry itself."""
        return cls(
            name=release.service, model=model, storage=release.storage_of(registry), mode=release.mode,
            confidential=release.confidential,
        )  # fmt: skip

    def uri(self, version: str) -> str:
        """`storageUri` of a version."""
        # Kubeflow Pipelines uses minio:// for its object store, which KServe does not support.
        base = "s3://" + self.storage.removeprefix("minio://") if self.storage.startswith("minio://") else self.storage
        return f"{base.rstrip('/')}/{self.model}/versions/{version}"

    def version_of(self, uri: str) -> str:
        """Return the version in a `storageUri`, '' if it is of another model."""
        folder, _, version = uri.rpartition("/")
        return version if folder.endswith(f"/{self.model}/versions") else ""


def spec_of(service: Manifest) -> ServiceSpec:
    """The spec of a service that exists, from its annotations and the `storageUri` of its stable predictor."""
    annotations = service["metadata"].get("annotations", {})
    stable = service["spec"]["predictor"]
    model = annotations.get(MODEL_ANNOTATION, "")
    storage = stable.get("model", {}).get("storageUri", "").partition(f"/{model}/versions/")[0]
    return ServiceSpec(
        name=service["metadata"]["name"], model=model, storage=storage,
        mode="Knative" if annotations.get(_MODE) in ("Knative", "Serverless") else "Standard",
        min_replicas=stable.get("minReplicas", 1),
        max_replicas=stable.get("maxReplicas") or stable.get("minReplicas", 1),
    )  # fmt: skip


def predictor(spec: ServiceSpec, version: str) -> Manifest:
    """Manifest of the stable predictor; the security settings repeat those of the runtime for the pod."""
    return {
        "serviceAccountName": spec.service_account,
        "automountServiceAccountToken": False,
        "minReplicas": spec.min_replicas,
        "maxReplicas": spec.max_replicas,
        "scaleMetric": "cpu",
        "scaleTarget": 70,
        # A new version is available before a pod of the old one ends.
        "deploymentStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"},
        },
        "model": served_model(spec, version),
    }  # fmt: skip


def served_model(spec: ServiceSpec, version: str) -> Manifest:
    """The `model` section of a predictor."""
    key = {"confidential": {"enabled": True, "resourceId": spec.confidential}} if spec.confidential else {}
    return {
        "modelFormat": {"name": "shoprank", "version": str(FORMAT_VERSION)}, "runtime": spec.runtime,
        "protocolVersion": "v2", "storageUri": spec.uri(version), **key,
    }  # fmt: skip


def manifest(spec: ServiceSpec, version: str) -> Manifest:
    """Manifest of a new InferenceService that serves one version."""
    # The autoscaler class is only for Standard mode; Knative has its own autoscaler.
    scaling = {"serving.kserve.io/autoscalerClass": "hpa"} if spec.mode == "Standard" else {}
    stable = predictor(spec, version)
    if spec.mode == "Knative":
        # Knative refuses a security context of the pod; that of the runtime's container says the same.
        for name in ("scaleMetric", "scaleTarget", "deploymentStrategy", "securityContext"):
            del stable[name]
        scaling = {"serving.kserve.io/enable-tag-routing": "true"}
    return {
        "apiVersion": INFERENCE_SERVICE.api_version,
        "kind": INFERENCE_SERVICE.kind,
        "metadata": {
            "name": spec.name,
            "labels": {"app.kubernetes.io/part-of": "shoprank"},
            "annotations": {_MODE: spec.mode, MODEL_ANNOTATION: spec.model, **scaling},
        },
        "spec": {"predictor": stable},
    }


def check_mode(service: Manifest, spec: ServiceSpec) -> None:
    """Check the deployment mode of a service, because each mode silently ignores fields of the other.

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
            f"InferenceService {spec.name} serves model '{model}', not '{spec.model}'",
            "use another service name for this model",
        )


def condition(service: Manifest, kind: str) -> Manifest:
    """Return one condition of the status, or {}."""
    return next((one for one in service.get("status", {}).get("conditions", []) if one["type"] == kind), {})


def is_ready(service: Manifest, kind: str = "Ready") -> bool:
    """Whether the condition is true for the latest generation."""
    seen = service.get("status", {}).get("observedGeneration", 0) >= service["metadata"].get("generation", 0)
    return seen and condition(service, kind).get("status") == "True"


def wait_ready(cluster: Cluster, name: str, generation: int, seconds: float, kind: str = "Ready") -> Manifest:
    """Wait until the given generation, or a newer one, is ready; an older Ready status does not count.

    Raises:
        ServingError: it was not ready in time, or the model failed to load; the message contains the status.
        ClusterError: the API rejected the request or is unavailable.
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
        f"InferenceService {name} was not ready within {time.monotonic() - started:.0f} s: "
        f"{status_message(present, kind)}",
        _look(name),
    )


def load_failure(service: Manifest) -> str:
    """KServe's reason for a failure to load the model of this generation, else ''."""
    status = service.get("status", {})
    if status.get("observedGeneration", 0) < service["metadata"].get("generation", 0):
        return ""
    states = [status.get("modelStatus", {}), *(one.get("modelStatus", {}) for one in status.get("canaryStatuses", []))]
    for state in states:
        if state.get("transitionStatus") in ("BlockedByFailedLoad", "InvalidSpec"):
            info = state.get("lastFailureInfo", {})
            return ": ".join(str(info[part]) for part in ("reason", "message") if info.get(part)) or str(state)
    return ""


def status_message(service: Manifest, kind: str = "Ready") -> str:
    """Summarise the status in one line."""
    found = condition(service, kind)
    if not found:
        return f"no condition {kind}; check that KServe's controller is running"
    words = [f"{found.get(part)}" for part in ("reason", "message") if found.get(part)]
    observed = service.get("status", {}).get("observedGeneration", 0)
    stale = "" if observed >= service["metadata"].get("generation", 0) else ", of an older generation"
    return f"{kind} is {found['status']}{stale}" + (f" ({': '.join(words)})" if words else "")


def address(service: Manifest) -> str:
    """URL inside the cluster, '' if the status has none yet."""
    status: dict[str, Any] = service.get("status", {})
    return status.get("address", {}).get("url") or status.get("url", "")


def _look(name: str) -> str:
    return f"see `kubectl describe inferenceservice {name}` and the logs of its predictor pods"
