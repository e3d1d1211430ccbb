"""Knative mode as far as it can be had: what the real KServe writes for Knative passes Knative's own checks.

The kind is Knative's CRD; the checks are those of its webhook, from the same module. No controller makes pods of it.
"""

import json
import subprocess
import uuid
from pathlib import Path

import pytest
import yaml

from components.shared.cluster.inference_service import ServiceSpec, manifest
from components.shared.tests.waiting import eventually
from tests.cluster.platform.programs import binary
from tests.kustomized import rendered

OVERLAY = Path(__file__).parents[2] / "manifests" / "overlays" / "knative"


@pytest.fixture
def place(platform):
    """A namespace with the runtime of the overlay."""
    if "services" not in platform.kubectl("api-resources", "--api-group=serving.knative.dev", "-o", "name"):
        pytest.skip("the cluster does not know Knative")
    if not binary("knative").exists():
        pytest.skip("Knative's checks are not built: python -m tests.cluster.platform build")
    name = f"t-knative-{uuid.uuid4().hex[:8]}"
    platform.kubectl("create", "namespace", name)
    runtimes = [one for one in rendered(OVERLAY) if one["kind"] == "ServingRuntime"]
    platform.kubectl("-n", name, "apply", "-f", "-", given=yaml.safe_dump_all(
        [{**one, "metadata": {**one["metadata"], "namespace": name}} for one in runtimes]
    ))  # fmt: skip
    yield name
    platform.kubectl("delete", "namespace", "--wait=false", name)


def knative_service(platform, place, body):
    """Create an InferenceService, and return what KServe makes of it for Knative."""
    platform.kubectl("-n", place, "create", "-f", "-", given=json.dumps(body))
    name = f"{body['metadata']['name']}-predictor"

    def found():
        listed = json.loads(platform.kubectl("-n", place, "get", "services.serving.knative.dev", "-o", "json"))
        return next((one for one in listed["items"] if one["metadata"]["name"] == name), None)

    assert eventually(found, 60), platform.kubectl("-n", place, "get", "isvc", "-o", "yaml")
    return found()


def refused(service):
    """What Knative's admission says against a Service, '' if it admits it."""
    created = {**service, "metadata": {key: service["metadata"][key] for key in ("name", "namespace")}, "status": {}}
    done = subprocess.run([binary("knative")], input=json.dumps(created), capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def of_overlay():
    (service,) = (one for one in rendered(OVERLAY) if one["kind"] == "InferenceService")
    del service["metadata"]["namespace"]
    return service


def of_deployment():
    return manifest(ServiceSpec(name="shop", model="shop", mode="Knative", storage="s3://bucket/registry"), "v1")


@pytest.mark.parametrize("body", [of_overlay, of_deployment])
def test_what_kserve_writes_is_admitted(platform, place, body):
    service = knative_service(platform, place, body())
    container = service["spec"]["template"]["spec"]["containers"][0]
    assert [port["containerPort"] for port in container["ports"]] == [8080]
    assert container["securityContext"]["runAsNonRoot"] is True
    assert refused(service) == ""


def test_knative_refuses_what_standard_mode_has(platform, place):
    body = of_deployment()
    body["spec"]["predictor"]["securityContext"] = {"runAsNonRoot": True, "runAsUser": 1000}
    service = knative_service(platform, place, body)
    assert "must not set the field(s): spec.template.spec.securityContext" in refused(service)
