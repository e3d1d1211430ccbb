"""Every kustomization renders offline, is valid by schema, and agrees with the code, the images and the other ones."""

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import kubernetes_validate
import pytest
import yaml

from components.shared.cluster.route import stable_service
from components.shared.images import PREDICTOR_IMAGE, TRAIN_IMAGE
from pipelines.resources import GPU, REGISTRY_VOLUME
from tests import custom_resources
from tests.kustomized import MANIFESTS, one, rendered

ROOT = MANIFESTS.parent
KUBERNETES = "1.35"
FOLDERS = sorted(path.parent for path in MANIFESTS.rglob("kustomization.yaml"))
WHOLE = [path for path in FOLDERS if "kind: Kustomization" in (path / "kustomization.yaml").read_text()]
WITHOUT_SCHEMA = {"ServiceMonitor", "Gateway", "GatewayClass", "EnvoyProxy", "ClusterStorageContainer"}
"""Custom kinds whose CRDs are not available; the fields that we rely on are asserted below, and the API server of
tests/cluster knows all of them but the first."""

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl (Debian: kubernetes-client)")


def name(folder: Path) -> str:
    return str(folder.relative_to(MANIFESTS))


def schema_errors(document: dict) -> list[str]:
    """Violations of the schema of the kind of a document."""
    if document["kind"] in WITHOUT_SCHEMA:
        return []
    if document["apiVersion"].partition("/")[0].endswith((".kserve.io", ".kubeflow.org", "gateway.networking.k8s.io")):
        return custom_resources.errors(document) if custom_resources.FOLDER.is_dir() else []
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [error.message]
    return []


@pytest.mark.parametrize("folder", WHOLE, ids=name)
def test_kustomization_renders_valid_documents(folder):
    documents = rendered(name(folder))
    found = {f"{doc['kind']} {doc['metadata']['name']}": schema_errors(doc) for doc in documents}
    assert {what: errors for what, errors in found.items() if errors} == {}
    assert len(found) == len(documents), "no object twice"


@pytest.mark.parametrize("folder", FOLDERS, ids=name)
def test_kustomization_uses_every_file_of_its_folder(folder):
    text = (folder / "kustomization.yaml").read_text()
    for path in folder.iterdir():
        assert path.name == "kustomization.yaml" or path.is_dir() or path.name in text, path


COMPONENTS = sorted({path.name for path in FOLDERS if path.parent.name == "components"} - {"images", "registry-volume"})
"""Those that are not part of base."""


@pytest.mark.parametrize("component", COMPONENTS)
def test_kustomize_component_can_be_added(component, tmp_path):
    own = MANIFESTS / "overlays" / f"try-{component}"
    own.mkdir()
    try:
        listed = "resources: [../../base, ../../endpoint]\ncomponents: [../../components/" + component + "]\n"
        (own / "kustomization.yaml").write_text(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: shoprank\n" + listed
        )
        output = subprocess.run(["kubectl", "kustomize", own], capture_output=True, text=True, check=True)
    finally:
        shutil.rmtree(own)
    documents = list(yaml.safe_load_all(output.stdout))
    assert {doc["kind"]: schema_errors(doc) for doc in documents if schema_errors(doc)} == {}
    if component == "keda":
        service = next(doc for doc in documents if doc["kind"] == "InferenceService")
        assert service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "keda"
        assert "scaleMetric" not in service["spec"]["predictor"]
    if component == "inference-log":
        runtime = next(doc for doc in documents if doc["kind"] == "ServingRuntime")["spec"]
        mount = next(entry for entry in runtime["containers"][0]["volumeMounts"] if entry["name"] == "inference-log")
        assert f"--inference_log={mount['mountPath']}" in runtime["containers"][0]["args"]
        assert {"name": "inference-log", "persistentVolumeClaim": {"claimName": REGISTRY_VOLUME}} in runtime["volumes"]
    if component == "rules":
        runtime = next(doc for doc in documents if doc["kind"] == "ServingRuntime")["spec"]
        mount = next(entry for entry in runtime["containers"][0]["volumeMounts"] if entry["name"] == "rules")
        assert f"--rules={mount['mountPath']}/rules.yaml" in runtime["containers"][0]["args"]
        assert "subPath" not in mount, "Kubernetes does not update such files"


CLUSTER_WIDE = ("Namespace", "PersistentVolume", "GatewayClass")


@pytest.mark.parametrize("overlay", ["overlays/kind", "overlays/gpu", "overlays/knative"])
def test_overlay_is_complete_and_in_one_namespace(overlay):
    namespaces = {doc["metadata"].get("namespace") for doc in rendered(overlay)
                  if doc["kind"] not in (*CLUSTER_WIDE, "EnvoyProxy")}  # fmt: skip
    assert namespaces == {one(overlay, "Namespace")["metadata"]["name"]} == {"shoprank"}
    labels = one(overlay, "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert labels["app.kubernetes.io/part-of"] == "kubeflow-profile", "KFP's object store answers no other"
    runtime = one(overlay, "ServingRuntime")["spec"]
    assert runtime["containers"][0]["image"] == PREDICTOR_IMAGE
    assert one(overlay, "PersistentVolumeClaim")["metadata"]["name"] == REGISTRY_VOLUME


@pytest.mark.parametrize("folder", ["base", "endpoint", "cluster"])
def test_what_everybody_applies_names_no_namespace(folder):
    assert not any("namespace" in doc["metadata"] for doc in rendered(folder))
    text = yaml.safe_dump_all(rendered(folder))
    assert "kubeflow" not in text.replace("trainer.kubeflow.org", "")
    assert not any(doc["kind"] in ("Role", "RoleBinding", "ResourceQuota", "Namespace") for doc in rendered(folder))


@pytest.mark.parametrize(
    ("overlay", "role"), [("overlays/kind", "shoprank-serving"), ("overlays/kind/kubeflow", "shoprank-training")]
)
def test_rights_on_kind_are_of_the_steps_in_kubeflow(overlay, role):
    binding = one(overlay, "RoleBinding")
    assert binding["roleRef"]["name"] == role == one(overlay, "Role")["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "pipeline-runner", "namespace": "kubeflow"}]
    rights = [(resource, verb) for rule in one(overlay, "Role")["rules"] for resource in rule["resources"]
              for verb in rule["verbs"]]  # fmt: skip
    assert not any(resource in ("secrets", "*") or verb == "*" for resource, verb in rights)


def test_budget_and_node_port_select_the_stable_predictor():
    service = one("endpoint", "InferenceService")
    labels = {"app": f"isvc.{service['metadata']['name']}-predictor"}
    budget = one("base", "PodDisruptionBudget")["spec"]
    assert budget["selector"]["matchLabels"] == labels
    assert service["spec"]["predictor"]["minReplicas"] > budget["minAvailable"], "else a node can never be drained"
    node_port = one("overlays/kind", "Service")["spec"]
    assert node_port["selector"] == labels
    cluster = yaml.safe_load((ROOT / "kind-cluster.yaml").read_text())
    mapped = {entry["containerPort"] for entry in cluster["nodes"][0]["extraPortMappings"]}
    assert {port["nodePort"] for port in node_port["ports"]} <= mapped


def test_quota_admits_a_training_run_and_the_endpoint():
    hard = one("overlays/gpu", "ResourceQuota")["spec"]["hard"]
    assert int(hard[f"requests.{GPU}"]) >= 1 and int(hard["requests.cpu"]) >= 8
    assert one("overlays/gpu", "LimitRange")["spec"]["limits"][0]["defaultRequest"]


def test_secret_of_the_object_store_has_the_annotations_of_kserve():
    secret = one("overlays/kind", "Secret")
    assert set(secret["data"]) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert secret["metadata"]["annotations"]["serving.kserve.io/s3-endpoint"] == "seaweedfs.kubeflow:9000"
    listed = one("overlays/kind", "ServiceAccount")["secrets"]
    assert {"name": secret["metadata"]["name"]} in listed
    assert [doc for doc in rendered("overlays/gpu") if doc["kind"] == "Secret"] == [], "a real login is no file of ours"


def test_registry_on_kind_is_one_folder_for_both_namespaces():
    cluster = yaml.safe_load((ROOT / "kind-cluster.yaml").read_text())
    mounted = {mount["containerPath"] for node in cluster["nodes"] for mount in node.get("extraMounts", [])}
    for overlay, namespace in (("overlays/kind", "shoprank"), ("overlays/kind/kubeflow", "kubeflow")):
        volume, claim = one(overlay, "PersistentVolume"), one(overlay, "PersistentVolumeClaim")
        assert {volume["spec"]["hostPath"]["path"]} == mounted
        assert claim["spec"]["volumeName"] == volume["metadata"]["name"]
        assert volume["spec"]["claimRef"] == {"namespace": namespace, "name": claim["metadata"]["name"]}
        assert claim["metadata"]["namespace"] == namespace
        assert claim["spec"]["accessModes"] == volume["spec"]["accessModes"] == ["ReadWriteMany"]


def test_knative_overlay_has_one_port_and_routes_by_tag():
    service, runtime = one("overlays/knative", "InferenceService"), one("overlays/knative", "ServingRuntime")
    annotations = service["metadata"]["annotations"]
    assert annotations["serving.kserve.io/deploymentMode"] == "Knative"
    assert annotations["serving.kserve.io/enable-tag-routing"] == "true"
    assert "serving.kserve.io/autoscalerClass" not in annotations
    assert [port["name"] for port in runtime["spec"]["containers"][0]["ports"]] == ["http1"]
    shadows = [word for word in runtime["spec"]["containers"][0]["args"] if word.startswith("--shadow_url=")]
    assert shadows == [f"--shadow_url=http://latest-{stable_service('{{.Name}}')}"]
    predictor = service["spec"]["predictor"]
    assert not {"securityContext", "deploymentStrategy", "scaleMetric"} & predictor.keys(), "Knative refuses them"
    assert runtime["spec"]["containers"][0]["securityContext"]["runAsNonRoot"]


def test_service_monitor_and_gateway_refer_to_existing_objects():
    monitor, gateway = one("overlays/gpu", "ServiceMonitor"), one("overlays/gpu", "Gateway")
    ports = {port["containerPort"] for port in one("overlays/gpu", "ServingRuntime")["spec"]["containers"][0]["ports"]}
    assert monitor["spec"]["endpoints"][0]["targetPort"] in ports
    assert monitor["spec"]["endpoints"][0]["path"] == "/metrics"
    assert gateway["spec"]["gatewayClassName"] == one("overlays/kind", "GatewayClass")["metadata"]["name"]
    assert gateway["spec"]["listeners"][0]["allowedRoutes"]["namespaces"] == {"from": "Same"}
    proxy = one("overlays/kind", "EnvoyProxy")
    parameters = one("overlays/kind", "GatewayClass")["spec"]["parametersRef"]
    named = {key: proxy["metadata"][key] for key in ("name", "namespace")}
    assert parameters == {"group": "gateway.envoyproxy.io", "kind": proxy["kind"], **named}


def test_the_training_runtime_runs_the_image_of_the_training_steps():
    runtime = one("cluster", "ClusterTrainingRuntime")
    job = runtime["spec"]["template"]["spec"]["replicatedJobs"][0]
    container = job["template"]["spec"]["template"]["spec"]["containers"][0]
    assert (job["name"], container["name"], container["image"]) == ("node", "node", TRAIN_IMAGE)
    assert "namespace" not in runtime["metadata"]


def test_registry_tag_and_pull_secret_are_those_of_the_environment_in_every_pod(tmp_path):
    chosen = {"REGISTRY": "registry.example:5000/acme", "TAG": "9", "PULL_SECRET": "acme-pull"}
    shutil.copytree(MANIFESTS, tmp_path / "manifests")
    code = "from pipelines.compiling import image_settings; print(image_settings())"
    text = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, **{f"SHOPRANK_IMAGE_{name}": value for name, value in chosen.items()}},
    ).stdout  # fmt: skip
    (tmp_path / "manifests/components/images/kustomization.yaml").write_text(text)
    for folder, kind, stage in (("cluster", "ClusterTrainingRuntime", "train"), ("base", "ServingRuntime", "predictor"),
                                ("overlays/gpu", "ServingRuntime", "predictor")):  # fmt: skip
        output = subprocess.run(
            ["kubectl", "kustomize", tmp_path / "manifests" / folder], capture_output=True, text=True, check=True
        ).stdout
        (document,) = (doc for doc in yaml.safe_load_all(output) if doc["kind"] == kind)
        assert schema_errors(document) == [] and "localhost:5001" not in output
        pod = document["spec"]
        if kind == "ClusterTrainingRuntime":
            pod = pod["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
        assert pod["containers"][0]["image"] == f"registry.example:5000/acme/{stage}:9"
        assert pod["imagePullSecrets"] == [{"name": "acme-pull"}]


@pytest.mark.parametrize(
    ("status", "exit_code", "message", "retried"),
    [
        ("Failed", 1, "Error (exit code 1)", True), ("Failed", 137, "OOMKilled (exit code 137)", True),
        ("Failed", -1, "The node was low on resource: memory", True), ("Error", -1, "pod deleted", True),
        ("Failed", -1, "", False),
    ],
    ids=["a step that failed", "killed for memory", "evicted", "a lost pod", "a graph with a failed step"],
)  # fmt: skip
def test_steps_that_fail_and_lost_pods_are_retried_but_not_whole_graphs(status, exit_code, message, retried):
    """What Argo 4.0.5 writes for each (buildRetryStrategyLocalScope, inferFailedReason, assessDAGPhase)."""
    settings = one("overlays/kind/kubeflow", "ConfigMap", "workflow-controller-configmap")
    assert settings["metadata"]["namespace"] == "kubeflow" and list(settings["data"]) == ["workflowDefaults"]
    defaults = yaml.safe_load(settings["data"]["workflowDefaults"])["spec"]["templateDefaults"]["retryStrategy"]
    assert defaults["retryPolicy"] == "Always"
    last = SimpleNamespace(status=status, exitCode=str(exit_code), message=message)
    expression = defaults["expression"].replace("||", "or")
    assert eval(expression, {"asInt": int, "lastRetry": last}) is retried


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Role", "rules/0/verb", ["get"]),
        ("NetworkPolicy", "spec/ingress/0/ports/0/port", {"http": 8080}),
        ("PodDisruptionBudget", "spec/minAvailabel", 1),
        ("ResourceQuota", "spec/hards", {}),
        ("ServingRuntime", "spec/containers/0/args", "--http_port=8080"),
        ("InferenceService", "spec/canary", [{"percent": 5}]),
    ],
)
def test_invalid_fields_are_found(kind, path, value):
    folder = "endpoint" if kind == "InferenceService" else "overlays/kind"
    document = copy.deepcopy(next(doc for doc in rendered(folder) if doc["kind"] == kind))
    assert schema_errors(document) == []
    *parents, last = path.split("/")
    target = document
    for step in parents:
        target = target[int(step) if step.isdigit() else step]
    target[last] = value
    assert schema_errors(document)
