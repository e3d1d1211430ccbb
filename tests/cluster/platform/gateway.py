"""Envoy Gateway beside the kubelet; the Envoys that it makes are pods."""

import base64
import json
import subprocess
from pathlib import Path

from tests.cluster.platform.control_plane import ControlPlane
from tests.cluster.platform.images import GATEWAY
from tests.cluster.platform.layout import Network
from tests.cluster.platform.processes import answers
from tests.cluster.platform.programs import binary

NAMESPACE = "envoy-gateway-system"


def start_gateway(plane: ControlPlane, network: Network) -> None:
    """Make its certificates, start it in a root of its own, and give it a Service that the Envoys find."""
    root = _root(plane)
    environment = {"KUBECONFIG": "/kubeconfig", "ENVOY_GATEWAY_NAMESPACE": NAMESPACE, "TMPDIR": "/tmp"}
    plane.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, *_service(network)])
    subprocess.run(
        [binary("envoy-gateway"), "certgen", "--overwrite", "--disable-topology-injector"], check=True,
        capture_output=True, env=environment | {"KUBECONFIG": str(plane.layout.kubeconfig())},
    )  # fmt: skip
    secret = json.loads(plane.kubectl("-n", NAMESPACE, "get", "secret", "envoy-gateway", "-o", "json"))["data"]
    for name, content in secret.items():
        (root / "certs" / name).write_bytes(base64.b64decode(content))
    # In a root of its own, because it reads its certificates from /certs.
    command = ["/envoy-gateway", "server", "--config-path", "/config.json"]
    plane.processes.start("envoy-gateway", command, environment, root)
    plane.processes.wait("envoy-gateway", lambda: answers("http://127.0.0.1:8081/readyz"))


def _root(plane: ControlPlane) -> Path:
    root = plane.layout.folder / "envoy-gateway"
    for name in ("certs", "tmp", "etc", "var/lib/eg"):
        (root / name).mkdir(parents=True)
    (root / "envoy-gateway").touch()
    subprocess.run(["mount", "--bind", binary("envoy-gateway"), root / "envoy-gateway"], check=True)
    (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
    (root / "kubeconfig").write_bytes(plane.layout.kubeconfig().read_bytes())
    (root / "config.json").write_text(json.dumps({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyGateway",
        "gateway": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
        "provider": {"type": "Kubernetes", "kubernetes": {
            "leaderElection": {"disable": True}, "shutdownManager": {"image": GATEWAY}}},
    }))  # fmt: skip
    return root


def _service(network: Network) -> list[dict[str, object]]:
    ports = [
        {"name": name, "port": port, "protocol": "TCP"}
        for name, port in (("grpc", 18000), ("ratelimit", 18001), ("wasm", 18002))
    ]
    named = {"name": "envoy-gateway", "namespace": NAMESPACE}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": named, "spec": {"ports": ports}},
        {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
         "metadata": {**named, "labels": {"kubernetes.io/service-name": "envoy-gateway"}},
         "endpoints": [{"addresses": [network.node]}], "ports": ports},
    ]  # fmt: skip
