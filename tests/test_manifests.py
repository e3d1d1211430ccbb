"""The endpoint, its runtime and kind-cluster.yaml: valid by schema, hardened, and consistent with the code."""

import copy
import subprocess
import sys
import time
from pathlib import Path

import httpx
import jsonschema
import kubernetes_validate
import pytest
import yaml

from components.shared.cluster.inference_service import ServiceSpec, manifest
from components.shared.cluster.route import candidate_service
from components.shared.images import PREDICTOR_IMAGE
from components.shared.release.bundle import FORMAT_VERSION
from components.shared.release.registry import Registry
from pipelines.resources import GPU, REGISTRY_MOUNT, REGISTRY_VOLUME
from pipelines.training import training
from serving.tests.handmade import write_bundle
from tests import custom_resources

ROOT = Path(__file__).parents[1]
MANIFESTS = ROOT / "manifests"
BASE = MANIFESTS / "base"
CORE = {"PersistentVolumeClaim", "ServiceAccount"}
KUBERNETES = "1.35"
NAME = "{{.Name}}"
"""KServe puts the name of the InferenceService here."""


def load() -> dict[str, dict]:
    """Resources of the endpoint by kind, read without kubectl; tests/test_overlays.py checks the others."""
    files = [MANIFESTS / "components/registry-volume/registry.yaml"]
    files += [BASE / name for name in ("service-account.yaml", "serving-runtime.yaml")]
    documents = [yaml.safe_load(path.read_text()) for path in (*files, MANIFESTS / "endpoint/inference-service.yaml")]
    return {document["kind"]: document for document in documents}


def parts(resources):
    """The parts that the checks look at: predictor, runtime, container, claim."""
    predictor = resources["InferenceService"]["spec"]["predictor"]
    runtime = resources["ServingRuntime"]
    return predictor, runtime, runtime["spec"]["containers"][0], resources["PersistentVolumeClaim"]


def schema_errors(resources: dict[str, dict]) -> list[str]:
    """Violations of the schemas of the resources."""
    found = []
    for kind, document in resources.items():
        if kind not in CORE:
            found += custom_resources.errors(document)
            continue
        try:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{kind}: {error.message}")
    return found


def differences(resources: dict[str, dict]) -> list[str]:
    """Values on which the manifests differ from the code or from each other."""
    predictor, runtime, container, claim = parts(resources)
    service, account = resources["InferenceService"]["metadata"], resources["ServiceAccount"]["metadata"]["name"]
    model, arguments = predictor["model"], dict(word.removeprefix("--").split("=", 1) for word in container["args"])
    name, ports = arguments["model_name"], {port["name"]: port["containerPort"] for port in container["ports"]}
    scheme, _, path = model["storageUri"].partition("://")
    volume, _, folder = path.partition("/")
    registry = Registry(Path(training.component_spec.inputs["registry"].default).relative_to(REGISTRY_MOUNT))
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    probes = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")}
    versions = registry.root / training.component_spec.inputs["model_name"].default / "versions"
    pairs = {
        "image": (container["image"], PREDICTOR_IMAGE),
        "container": (container["name"], "kserve-container"),
        "command": (container["command"], ["python", "-m", "serving"]),
        "model_dir": (arguments["model_dir"], "/mnt/models"),
        "http port": (ports["http"], int(arguments["http_port"])),
        "grpc port": (ports["grpc"], int(arguments["grpc_port"])),
        "probe ports": ({probe["port"] for probe in probes.values()}, {ports["http"]}),
        "readiness": (probes["readiness"]["path"], f"/v2/models/{name}/ready"),
        "startup": (probes["startup"]["path"], f"/v2/models/{name}/ready"),
        "scraped port": (runtime["spec"]["annotations"]["prometheus.io/port"], arguments["http_port"]),
        "model name, which KServe fills in": (name, NAME),
        "format": (model["modelFormat"]["name"], runtime["spec"]["supportedModelFormats"][0]["name"]),
        "format version": (model["modelFormat"]["version"], str(FORMAT_VERSION)),
        "supported version": (runtime["spec"]["supportedModelFormats"][0]["version"], str(FORMAT_VERSION)),
        "protocol": (model["protocolVersion"] in runtime["spec"]["protocolVersions"], True),
        "runtime": (model["runtime"], runtime["metadata"]["name"]),
        "account": (predictor["serviceAccountName"], account),
        "storage": (scheme, "pvc"),
        "claim of the service": (volume, claim["metadata"]["name"]),
        "claim of the pipelines": (claim["metadata"]["name"], REGISTRY_VOLUME),
        "folder of the version": (str(Path(folder).parent), str(versions)),
        "mode": (service["annotations"]["serving.kserve.io/deploymentMode"], "Standard"),
        "shadow": (arguments["shadow_url"], f"http://{candidate_service(NAME)}"),
        "key": (arguments["public_key"], f"{mounts['signing-key']['mountPath']}/signing.pem.pub"),
        "clock": (arguments["clock"], "system"),
        "threads, which follow the limit of CPUs": ("threads" in arguments, False),
    }
    return [f"{what}: {one!r}, not {other!r}" for what, (one, other) in pairs.items() if one != other]


def hardening_gaps(resources: dict[str, dict]) -> list[str]:
    """Where the predictor's pod falls short of Kubernetes' restricted Pod Security Standard and a read-only root."""
    predictor, runtime, container, _ = parts(resources)
    pod, own = predictor["securityContext"], container["securityContext"]
    rules = {
        "runs as root": pod["runAsNonRoot"] and own["runAsNonRoot"] and pod["runAsUser"] == own["runAsUser"] == 1000,
        "may write its root": own["readOnlyRootFilesystem"],
        "may gain privileges": not own["allowPrivilegeEscalation"],
        "keeps capabilities": own["capabilities"] == {"drop": ["ALL"]},
        "no seccomp": pod["seccompProfile"] == own["seccompProfile"] == {"type": "RuntimeDefault"},
        "holds a token": not predictor["automountServiceAccountToken"],
        "no limits": all(set(container["resources"][kind]) == {"cpu", "memory"} for kind in ("limits", "requests")),
        "tag moves": not container["image"].endswith(":latest") and ":" in container["image"].rsplit("/", 1)[-1],
        "tmp is not writable": {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        == {"/tmp"} and "emptyDir" in runtime["spec"]["volumes"][0],
        "trusts any bundle": any(word.startswith("--public_key=") for word in container["args"]),
    }  # fmt: skip
    return [what for what, holds in rules.items() if not holds]


@pytest.fixture
def resources():
    return load()


crds = pytest.mark.skipif(
    not custom_resources.FOLDER.is_dir(), reason=f"no CRDs in {custom_resources.FOLDER}; set SHOPRANK_CRDS"
)


def test_endpoint_equals_the_manifest_of_a_deployment(resources):
    assert resources["InferenceService"] == manifest(ServiceSpec(model="shop"), "VERSION")


@crds
def test_resources_are_valid(resources):
    assert schema_errors(resources) == []


def test_resources_agree_with_the_code(resources):
    assert differences(resources) == []


def test_the_predictor_is_hardened(resources):
    assert hardening_gaps(resources) == []


def with_mistake(resources, kind, path, value):
    """A copy with one mistake; a value of None removes the field."""
    changed = copy.deepcopy(resources)
    *parents, last = path.split("/")
    target = changed[kind]
    for step in parents:
        target = target[int(step) if step.isdigit() else step]
    if value is None:
        del target[last]
    else:
        target[int(last) if last.isdigit() else last] = value
    return changed


@crds
@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("InferenceService", "spec/predictor/model/storageURI", "pvc://shoprank-registry/x"),
        ("InferenceService", "spec/predictor/minReplicas", "1"),
        ("InferenceService", "spec/predictor/scaleMetric", "requests"),
        ("InferenceService", "spec/predictor/model/modelFormat/name", None),
        ("InferenceService", "spec/predictors", {}),
        ("ServingRuntime", "spec/containers", None),
        ("ServingRuntime", "spec/containers/0/readinessProbes", {}),
        ("ServingRuntime", "spec/supportedModelFormats/0/autoSelect", "yes"),
        ("ServingRuntime", "spec/containers/0/ports/0/containerPort", "8080"),
        ("PersistentVolumeClaim", "spec/accessMode", "ReadWriteMany"),
        ("ServiceAccount", "automountServiceAccountToken", "no"),
    ],
)
def test_invalid_fields_are_caught(resources, kind, path, value):
    assert schema_errors(with_mistake(resources, kind, path, value))


@pytest.mark.parametrize(
    ("kind", "path", "value", "check"),
    [
        ("ServingRuntime", "spec/containers/0/image", "localhost:5001/shoprank/predictor:0.0.9", "image"),
        ("ServingRuntime", "spec/containers/0/ports/0/containerPort", 9000, "http port"),
        ("ServingRuntime", "spec/containers/0/readinessProbe/httpGet/path", "/v2/health/ready", "readiness"),
        ("ServingRuntime", "spec/supportedModelFormats/0/name", "torch", "format"),
        ("ServingRuntime", "metadata/name", "other", "runtime"),
        ("ServingRuntime", "spec/containers/0/args/0", "--model_name=shoprank", "model name"),
        ("ServingRuntime", "spec/containers/0/args/6", "--shadow_url=http://shoprank-candidate-predictor", "shadow"),
        ("InferenceService", "spec/predictor/model/storageUri", "pvc://registry/x/VERSION", "claim of the service"),
        ("InferenceService", "spec/predictor/serviceAccountName", "default", "account"),
        ("PersistentVolumeClaim", "metadata/name", "models", "claim of the pipelines"),
    ],
)
def test_drift_from_the_code_is_caught(resources, kind, path, value, check):
    assert any(line.startswith(check) for line in differences(with_mistake(resources, kind, path, value)))


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("ServingRuntime", "spec/containers/0/securityContext/readOnlyRootFilesystem", False),
        ("ServingRuntime", "spec/containers/0/securityContext/capabilities", {"drop": ["NET_RAW"]}),
        ("ServingRuntime", "spec/containers/0/securityContext/runAsUser", 0),
        ("ServingRuntime", "spec/containers/0/resources/limits", {"cpu": "2"}),
        ("InferenceService", "spec/predictor/securityContext/runAsNonRoot", False),
        ("InferenceService", "spec/predictor/automountServiceAccountToken", True),
    ],
)
def test_hardening_gaps_are_caught(resources, kind, path, value):
    assert hardening_gaps(with_mistake(resources, kind, path, value))


def test_arguments_of_the_runtime_start_a_predictor_that_passes_its_probes(resources, tmp_path):
    container = parts(resources)[2]
    bundle = write_bundle(tmp_path / "bundle", tmp_path / "key.pem")
    # Only the values specific to a pod are changed: two mounts and two ports.
    changes = {"model_dir": bundle, "http_port": 28_090, "grpc_port": 28_091, "public_key": tmp_path / "key.pem.pub"}
    given = dict(word.removeprefix("--").split("=", 1) for word in container["args"]) | changes
    command = [sys.executable, *container["command"][1:], *(f"--{flag}={value}" for flag, value in given.items())]
    probes = [container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")]
    with (tmp_path / "log").open("wb") as log, httpx.Client(trust_env=False) as client:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT)
        try:
            assert [_status(process, client, path) for path in (*probes, "/metrics")] == [200] * 4
        finally:
            process.terminate()
            process.wait(30)


def _status(process, client, path):
    for _ in range(300):
        try:
            return client.get(f"http://127.0.0.1:28090{path}").status_code
        except httpx.TransportError:
            assert process.poll() is None
            time.sleep(0.1)
    return 0


KIND = {
    "type": "object", "additionalProperties": False, "required": ["kind", "apiVersion", "name", "nodes"],
    "properties": {
        "kind": {"const": "Cluster"}, "apiVersion": {"const": "kind.x-k8s.io/v1alpha4"}, "name": {"type": "string"},
        "containerdConfigPatches": {"type": "array", "items": {"type": "string"}},
        "nodes": {"type": "array", "items": {
            "type": "object", "additionalProperties": False, "required": ["role", "image"],
            "properties": {
                "role": {"enum": ["control-plane", "worker"]},
                "image": {"pattern": r"^kindest/node:v\d+\.\d+\.\d+(@sha256:[0-9a-f]{64})?$"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "extraMounts": {"type": "array", "items": {
                    "type": "object", "additionalProperties": False, "required": ["hostPath", "containerPath"],
                    "properties": {"hostPath": {"type": "string"}, "containerPath": {"type": "string"}},
                }},
                "kubeadmConfigPatches": {"type": "array", "items": {"type": "string"}},
                "extraPortMappings": {"type": "array", "items": {
                    "type": "object", "additionalProperties": False, "required": ["containerPort", "hostPort"],
                    "properties": {
                        "containerPort": {"type": "integer", "minimum": 30000, "maximum": 32767},
                        "hostPort": {"type": "integer"}, "listenAddress": {"const": "127.0.0.1"},
                        "protocol": {"const": "TCP"},
                    },
                }},
            },
        }},
    },
}  # fmt: skip
"""kind's v1alpha4 as far as we use it; kind itself parses as strictly."""


@pytest.fixture
def cluster():
    return yaml.safe_load((ROOT / "kind-cluster.yaml").read_text())


def test_the_kind_cluster_is_valid(cluster):
    jsonschema.validate(cluster, KIND)
    assert len({node["image"] for node in cluster["nodes"]}) == 1
    assert f"kindest/node:v{KUBERNETES}." in cluster["nodes"][0]["image"]
    gpu = [node for node in cluster["nodes"] if "kubeadmConfigPatches" in node]
    assert [node["labels"][f"{GPU}.present"] for node in gpu] == ["true"]
    taint = yaml.safe_load(gpu[0]["kubeadmConfigPatches"][0])["nodeRegistration"]["taints"][0]
    assert (taint["key"], taint["effect"]) == (GPU, "NoSchedule"), "training steps tolerate this taint"


@pytest.mark.parametrize("mistake", [{"node": []}, {"nodes": [{"role": "master"}]}, {"apiVersion": "kind.x-k8s.io/v1"}])
def test_a_mistake_in_the_kind_cluster_is_caught(cluster, mistake):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**cluster, **mistake}, KIND)
