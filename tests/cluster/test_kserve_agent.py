"""An InferenceService with KServe's logger and batcher: its agent, as the real KServe makes it, fits our manifests."""

import json
import uuid

import pytest
import yaml

from components.shared.cluster.inference_service import ServiceSpec, manifest
from components.shared.tests.waiting import eventually
from pipelines.installing import MANIFESTS, Installation, render


@pytest.fixture
def place(platform):
    """A restricted namespace with our parts; without the Secret of the account KServe's agent is refused."""
    name = f"t-agent-{uuid.uuid4().hex[:8]}"
    platform.kubectl("create", "namespace", name)
    platform.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    given = render(Installation(namespace=name, serving_namespace=name))
    platform.kubectl("apply", "--server-side", "-f", "-", given=given)
    platform.kubectl("-n", name, "create", "secret", "generic", "shoprank-object-store")
    yield name
    platform.kubectl("delete", "namespace", "--wait=false", name)


def test_agent_is_admitted_and_its_port_is_open(platform, place):
    body = manifest(ServiceSpec(name="try", model="shop", min_replicas=1), "v1")
    body["spec"]["predictor"] |= {
        "batcher": {"maxBatchSize": 8, "maxLatency": 50}, "logger": {"mode": "all", "url": "http://broker.events/"},
    }  # fmt: skip
    platform.kubectl("-n", place, "create", "-f", "-", given=json.dumps(body))

    def pods() -> list[dict]:
        listed = platform.kubectl("-n", place, "get", "pods", "-l", "app=isvc.try-predictor", "-o", "json")
        return json.loads(listed)["items"]

    assert eventually(pods, 60), platform.kubectl("-n", place, "get", "events")
    (agent,) = (one for one in pods()[0]["spec"]["containers"] if one["name"] == "agent")
    service = json.loads(platform.kubectl("-n", place, "get", "service", "try-predictor", "-o", "json"))
    policy = yaml.safe_load((MANIFESTS / "components/kserve-agent/network-policy.yaml").read_text())["spec"]
    opened = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
    http = next(port["targetPort"] for port in service["spec"]["ports"] if port["name"] == "http")
    assert {http} == opened == {port["containerPort"] for port in agent["ports"] if port["name"] == "agent-port"}
    assert policy["podSelector"]["matchLabels"].items() <= pods()[0]["metadata"]["labels"].items()
