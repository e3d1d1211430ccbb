"""The list that `shoprank kind up` applies, in its order, to a real API server as a dry run.

The platform of the tests has the same parts from the same modules, so nothing of it is changed. Sources that no Go
module holds (cert-manager and Kubeflow Pipelines) are checked by their place in the list alone.
"""

import functools
import json
import subprocess
import uuid
from pathlib import Path

import pytest
import yaml

from pipelines.installing import MANIFESTS
from pipelines.kind_steps import GATEWAY_GROUP, Step, own_steps, passes, platform_steps, versions
from tests.cluster.platform.programs import binary, module

NOT_HERE = ("Certificate", "Issuer", "CompositeController", "Application")
"""Kinds of cert-manager and KFP, which the platform lacks."""


def files(folder: Path) -> str:
    return "\n---\n".join(file.read_text() for file in sorted(folder.glob("*.yaml")))


@functools.cache
def modules(step: Step) -> str | None:
    """The source of a step in the Go modules, None if none holds it."""
    if step.name == "gateway-api":
        return files(module("envoy-gateway", "sigs.k8s.io/gateway-api") / "config/crd/standard")
    if step.name == "envoy-gateway":
        charts = module("envoy-gateway", "github.com/envoyproxy/gateway") / "charts"
        own = files(charts / "gateway-crds-helm/templates/generated")
        # As in its install.yaml: the experimental CRDs, and its own between two lines of Helm.
        lines = [line for line in own.splitlines() if not line.lstrip().startswith("{{")]
        return "\n".join([(charts / "gateway-helm/charts/crds/crds/gatewayapi-crds.yaml").read_text(), "---", *lines])
    if step.name == "kserve":
        return (module("kserve", "github.com/kserve/kserve") / "install/v0.20.0/kserve.yaml").read_text()
    if step.name == "trainer":
        return kustomized(module("trainer", "github.com/kubeflow/trainer/v2") / "manifests/base/crds")
    return kustomized(Path(step.source)) if step.source.startswith("/") else None


def kustomized(folder: Path) -> str:
    command = [binary("kubernetes"), "kubectl", "kustomize", folder]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


STEPS = [step for step in (*platform_steps(), *own_steps())]


@pytest.fixture(scope="module")
def places(platform):
    """Namespaces in the place of ours, which other tests do not use."""
    names = {name: f"t-{name}-{uuid.uuid4().hex[:8]}" for name in ("shoprank", "kubeflow")}
    for name in names.values():
        platform.kubectl("create", "namespace", name)
    yield names
    platform.kubectl("delete", "namespace", "--wait=false", *names.values())


def refusal(platform, documents: list[dict]) -> str:
    command = [binary("kubernetes"), "kubectl", "--kubeconfig", platform.kubeconfig, "apply", "--server-side",
               "--force-conflicts", "--dry-run=server", "-f", "-"]  # fmt: skip
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
    return subprocess.run(command, input=given, capture_output=True, text=True, check=False).stderr


def elsewhere(one: dict, places: dict[str, str]) -> dict:
    """The object in the namespaces of this test."""
    moved = json.loads(json.dumps(one))
    if one["kind"] == "Namespace":
        moved["metadata"]["name"] = places.get(one["metadata"]["name"], one["metadata"]["name"])
    elif one["metadata"].get("namespace") in places:
        moved["metadata"]["namespace"] = places[one["metadata"]["namespace"]]
    return moved


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_real_api_server_accepts_the_step(platform, places, training_runtime, step):
    if modules(step) is None:
        pytest.skip(f"{step.source}: in no Go module")
    documents = [elsewhere(one, places) for one in step.documents(lambda _: modules(step) or "")]
    assert documents
    for part in passes(one for one in documents if one["kind"] not in NOT_HERE):
        assert refusal(platform, part) == ""


def test_upgrade_policy_refuses_the_copy_of_the_gateway_api_that_is_left_out(platform):
    """As seen: Envoy Gateway's own file brings experimental CRDs, the standard ones forbid them."""
    (envoy,) = (step for step in STEPS if step.name == "envoy-gateway")
    everything = [one for one in yaml.load_all(modules(envoy) or "", yaml.CSafeLoader) if one]
    kept = envoy.documents(lambda _: modules(envoy) or "")
    assert {one["spec"]["group"] for one in kept} == {"gateway.envoyproxy.io"}
    left = [one for one in everything if one not in kept]
    assert {one["spec"]["group"] for one in left if one["kind"] == "CustomResourceDefinition"} >= {GATEWAY_GROUP}
    routes = [one for one in left if one["metadata"]["name"] == f"httproutes.{GATEWAY_GROUP}"]
    assert "safe-upgrades" in refusal(platform, routes)


def test_every_namespace_exists_before_something_is_put_into_it():
    known = {"kube-system", "default", "cert-manager", "kubeflow"}
    for step in STEPS:
        text = modules(step)
        if text is None:
            continue
        documents = step.documents(lambda _, text=text: text)
        known |= {step.namespace, *(one["metadata"]["name"] for one in documents if one["kind"] == "Namespace")}
        if step.name == "envoy-gateway":
            known.add("envoy-gateway-system")  # Of its install.yaml, which is made from a Helm chart.
        used = {one["metadata"]["namespace"] for one in documents if "namespace" in one["metadata"]}
        assert used <= known, f"{step.name}: {used - known}"


def test_order_follows_what_each_part_needs():
    order = [step.name for step in STEPS]
    needs = {"kserve": ["cert-manager", "gateway-api"], "envoy-gateway": ["gateway-api"],
             "pipelines": ["pipelines-crds", "cert-manager"], "overlays/kind": ["kserve", "envoy-gateway", "cluster"],
             "storage-initializer": ["kserve"],
             "cluster": ["trainer"], "overlays/kind/kubeflow": ["pipelines", "overlays/kind"]}  # fmt: skip
    for name, before in needs.items():
        assert all(order.index(one) < order.index(name) for one in before), name
    waited = {step.name for step in STEPS if step.waits}
    assert waited >= {"cert-manager", "envoy-gateway", "kserve", "trainer", "pipelines"}, "their webhooks answer"
    assert {one for step in platform_steps() for one in versions().values() if one in step.source} >= {
        versions()[name] for name in ("CERT_MANAGER", "GATEWAY_API", "ENVOY_GATEWAY", "KFP", "KSERVE", "TRAINER")
    }
    assert [Path(step.source).relative_to(MANIFESTS).as_posix() for step in own_steps()] == order[-4:]


def test_kinds_come_first_and_webhooks_last():
    kinds = ("ClusterStorageContainer", "ValidatingWebhookConfiguration", "CustomResourceDefinition", "Namespace")
    found = passes({"kind": kind} for kind in kinds)
    assert [[one["kind"] for one in part] for part in found] == [[kinds[2], kinds[3]], [kinds[0]], [kinds[1]]]
