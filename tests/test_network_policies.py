"""Who reaches a predictor and what it reaches: each need has a rule of its own. Nothing here enforces them."""

import shutil

import pytest
import yaml

from tests.kustomized import MANIFESTS, one, rendered

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl (Debian: kubernetes-client)")


def policies(folder: str) -> dict[str, dict]:
    return {doc["metadata"]["name"]: doc["spec"] for doc in rendered(folder) if doc["kind"] == "NetworkPolicy"}


def test_network_policies_open_the_ports_of_the_runtime_and_no_other():
    ports = {port["containerPort"] for port in one("base", "ServingRuntime")["spec"]["containers"][0]["ports"]}
    assert policies("base").keys() == {"shoprank-predictor", "shoprank-predictor-object-store"}
    policy = policies("base")["shoprank-predictor"]
    opened = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
    assert opened == ports and all(rule["from"] for rule in policy["ingress"]), "nobody without a label"
    required = {key for rule in policy["ingress"] for peer in rule["from"] for key in
             peer.get("namespaceSelector", {}).get("matchLabels", {})}  # fmt: skip
    labels = one("overlays/kind", "Namespace")["metadata"]["labels"]
    assert (
        required == {"shoprank.example/may-ask", "shoprank.example/may-scrape"} and "shoprank.example/may-ask" in labels
    )
    training = policies("overlays/kind/kubeflow")["shoprank-training"]
    assert training["ingress"][0]["from"][0]["podSelector"] == training["podSelector"]


def test_egress_of_a_predictor_is_one_rule_for_each_need():
    found = policies("base") | policies("overlays/kind")
    outwards = {
        name: sorted({port["port"] for rule in policy.get("egress", []) for port in rule["ports"]})
        for name, policy in found.items() if policy["podSelector"].get("matchLabels", {}).get("component")
    }  # fmt: skip
    assert outwards == {
        "shoprank-predictor": [53, 8080], "shoprank-predictor-object-store": [443],
        "shoprank-predictor-kfp-object-store": [8333, 9000], "shoprank-predictor-envoy": [],
        "shoprank-predictor-steps": [],
    }  # fmt: skip


def test_steps_gateway_and_node_port_pass_the_network_policies():
    found = policies("overlays/kind")
    steps = found["shoprank-predictor-steps"]["ingress"][0]["from"]
    place = one("overlays/kind", "RoleBinding")["subjects"][0]["namespace"]
    assert steps == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": place}}}]
    envoy = found["shoprank-predictor-envoy"]["ingress"][0]
    namespace = envoy["from"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
    assert namespace == one("overlays/kind", "EnvoyProxy")["metadata"]["namespace"]
    for name in ("shoprank-predictor-steps", "shoprank-predictor-envoy"):
        (rule,) = found[name]["ingress"]
        assert [port["port"] for port in rule["ports"]] == [8080, 8081, 9081], "runtime, and KServe's agent"
    node_port = one("overlays/kind", "Service")["spec"]
    opened = found["shoprank-node-port"]
    assert opened["podSelector"]["matchLabels"] == node_port["selector"]
    assert [port["port"] for port in opened["ingress"][0]["ports"]] == [node_port["ports"][0]["targetPort"]]


def test_an_agent_of_kserve_takes_requests_in_the_place_of_the_predictor():
    """Port 9081 is KServe's InferenceServiceDefaultAgentPort (0.20)."""
    (agent,) = yaml.safe_load_all((MANIFESTS / "components/kserve-agent/network-policy.yaml").read_text())
    base = policies("base")["shoprank-predictor"]
    assert agent["spec"]["podSelector"] == base["podSelector"]
    (rule,) = agent["spec"]["ingress"]
    assert rule["from"] == base["ingress"][0]["from"]
    assert [port["port"] for port in rule["ports"]] == [9081]
    (copies, events) = agent["spec"]["egress"]
    assert copies["ports"] == rule["ports"]
    assert events["to"] == [{"namespaceSelector": {"matchLabels": {"shoprank.example/receives-events": "true"}}}]
