"""Our custom resources against a cluster: its API server and webhooks accept each of them, and the endpoint answers.

`make test-cluster CONTEXT=...` or KUBECONFIG runs this on any cluster, each part skipped with a reason where it is
absent; without either it runs on the platform of the tests.
"""

import json
import os
from pathlib import Path

import httpx
import kubernetes
import pytest
import yaml

from components.shared.cluster.api import Cluster, connect
from components.shared.cluster.inference_service import ServiceSpec, address, is_ready, manifest
from components.shared.cluster.kinds import INFERENCE_SERVICE, TRAIN_JOB
from components.shared.cluster.standard import StandardTraffic
from components.shared.cluster.traffic import Placement
from components.shared.errors import MissingObject
from components.shared.telemetry.endpoint import endpoint
from pipelines.compiling import COMPILED
from tests import custom_resources
from tests.cluster.platform.elsewhere import is_given

ROOT = Path(__file__).parents[2]
_CUSTOM = (".kserve.io", ".kubeflow.org", ".networking.k8s.io", ".coreos.com")


@pytest.fixture
def target(request) -> Cluster:
    """The cluster of --kube-context or KUBECONFIG, else the platform with the CRDs of Kubeflow Pipelines."""
    context = request.config.getoption("--kube-context", default="")
    if is_given(request.config):
        return connect(context, os.environ.get("SHOPRANK_NAMESPACE", "shoprank"))
    request.getfixturevalue("pipeline_kinds")
    return request.getfixturevalue("cluster")


@pytest.fixture(scope="session")
def pipeline_kinds(platform) -> None:
    """The CRDs of Kubeflow Pipelines, if they lie beside the project: its API server cannot be had here."""
    found = [str(path) for path in custom_resources.FOLDER.glob("*.pipelines.kubeflow.org.json")]
    if found:
        platform.kubectl("apply", "--server-side", "--force-conflicts", *(f"--filename={path}" for path in found))
        names = [f"crd/{Path(path).stem}" for path in found]
        platform.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)


def documents():
    """Every custom resource of the manifests and of the compiled pipelines."""
    files = [*(ROOT / "manifests").rglob("*.yaml"), *COMPILED.glob("*.kubernetes.yaml")]
    for path in sorted(files):
        for document in yaml.safe_load_all(path.read_text()):
            custom = str(document.get("apiVersion", "")).partition("/")[0].endswith(_CUSTOM)
            if custom and "spec" in document and "overlays" not in path.parts and "keda" not in path.parts:
                yield pytest.param(document, id=f"{document['kind']}-{path.stem}")


@pytest.mark.parametrize("document", list(documents()))
def test_api_server_accepts_the_resource(target, document):
    group, version = document["apiVersion"].split("/")
    objects = kubernetes.client.CustomObjectsApi(target.client)
    plural = document["kind"].lower() + "s"
    metadata = {**document["metadata"], "namespace": target.namespace}
    body = document if document["kind"].startswith("Cluster") else {**document, "metadata": metadata}
    arguments = {"group": group, "version": version, "plural": plural, "body": body, "dry_run": "All"}
    try:
        if document["kind"].startswith("Cluster"):
            created = objects.create_cluster_custom_object(**arguments, field_validation="Strict")
        else:
            created = objects.create_namespaced_custom_object(
                **arguments, namespace=target.namespace, field_validation="Strict"
            )
    except kubernetes.client.ApiException as error:
        response = json.loads(str(error.body)) if str(error.body).startswith("{") else {}
        if error.status == 404:
            pytest.skip(f"the cluster does not know {plural}.{group}")
        if response.get("reason") == "AlreadyExists":
            return
        raise AssertionError(response.get("message", error.body)) from error
    assert created["spec"].keys() >= document["spec"].keys()


def test_unknown_field_is_refused(target):
    body = manifest(ServiceSpec(name="try", model="shop"), "v1")
    body["spec"]["canaries"] = []
    objects = kubernetes.client.CustomObjectsApi(target.client)
    kind = INFERENCE_SERVICE
    with pytest.raises(kubernetes.client.ApiException) as refusal:
        objects.create_namespaced_custom_object(
            kind.group, kind.version, target.namespace, kind.plural, body, dry_run="All", field_validation="Strict"
        )
    assert "canaries" in str(refusal.value.body) or refusal.value.status == 404


def test_service_with_a_candidate_is_accepted_in_both_modes(target):
    for mode in ("Standard", "Knative"):
        body = manifest(ServiceSpec(name=f"try-{mode.lower()}", model="shop", mode=mode), "v1")
        if mode == "Standard":
            placement = Placement(service=ServiceSpec(name="try", model="shop"))
            body["spec"]["canary"] = [StandardTraffic(target, placement)._canary("v2", 5)]
        else:
            body["spec"]["predictor"]["canaryTrafficPercent"] = 5
        try:
            created = kubernetes.client.CustomObjectsApi(target.client).create_namespaced_custom_object(
                INFERENCE_SERVICE.group, INFERENCE_SERVICE.version, target.namespace, INFERENCE_SERVICE.plural, body,
                dry_run="All", field_validation="Strict",
            )  # fmt: skip
        except kubernetes.client.ApiException as error:
            if error.status == 404:
                pytest.skip("no KServe")
            raise
        assert created["metadata"]["name"] == f"try-{mode.lower()}"


def test_the_deployed_endpoint_answers(target, request):
    if not is_given(request.config):
        pytest.skip("needs --kube-context or KUBECONFIG: test_releases.py has an endpoint on the tests' own platform")
    try:
        service = target.find(INFERENCE_SERVICE, "shoprank")
    except MissingObject as error:
        pytest.skip(error.headline)
    if service is None or not is_ready(service):
        pytest.skip("no InferenceService shoprank that is Ready")
    url = os.environ.get("SHOPRANK_URL") or address(service)
    with endpoint(url) as client:
        try:
            answer = client.answer({"k": 3})
        except Exception as error:
            if isinstance(error.__cause__, httpx.ConnectError) and "SHOPRANK_URL" not in os.environ:
                pytest.skip(f"{url} is not reachable from here; set SHOPRANK_URL")
            raise
    assert answer["items"] and answer["model_version"]


def test_train_jobs_can_be_listed(target):
    try:
        target.list(TRAIN_JOB, limit=1)
    except MissingObject as error:
        pytest.skip(error.headline)
