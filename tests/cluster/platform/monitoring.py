"""Prometheus, which scrapes what the ServiceMonitor of the manifests names, discovered as its operator lets it."""

import json
import re
from typing import Any

import yaml

from tests.cluster.platform.control_plane import ControlPlane
from tests.cluster.platform.layout import CHECKOUT, Network
from tests.cluster.platform.processes import answers
from tests.cluster.platform.programs import binary

NAMESPACE = "monitoring"
"""Of the Service `prometheus`, as the examples of our READMEs name it."""

EVERY = "1s"
"""The manifests scrape every 10 s; tests do not wait that long."""

_MONITOR = CHECKOUT / "manifests" / "components" / "monitoring" / "service-monitor.yaml"


def start_monitoring(plane: ControlPlane, network: Network) -> None:
    """Start the server with a service account and a Service of its own; `wait_monitoring` waits for it."""
    port = plane.ports["prometheus"]
    plane.apply([*_account(), *_service(network, port)])
    folder = plane.layout.folder / "prometheus"
    folder.mkdir()
    monitor = yaml.safe_load(_MONITOR.read_text())
    kubeconfig = plane.service_account(NAMESPACE, "prometheus")
    (folder / "prometheus.yml").write_text(json.dumps({
        "global": {"scrape_interval": EVERY, "scrape_timeout": EVERY},
        "scrape_configs": [scrape_config(monitor, str(kubeconfig))],
    }))  # fmt: skip
    plane.processes.start("prometheus", [
        binary("prometheus"), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={network.node}:{port}", "--log.level=warn",
    ])  # fmt: skip


def wait_monitoring(plane: ControlPlane, network: Network) -> str:
    """Wait until it answers, and return its address."""
    url = f"http://{network.node}:{plane.ports['prometheus']}"
    plane.processes.wait("prometheus", lambda: answers(f"{url}/-/ready"))
    return url


def scrape_config(monitor: dict[str, Any], kubeconfig: str) -> dict[str, Any]:
    """What the Prometheus operator makes of a ServiceMonitor, for all namespaces instead of the monitor's own."""
    (endpoint,) = monitor["spec"]["endpoints"]
    kept = [
        _kept(f"service_label_{_sanitised(name)}", value)
        for name, value in monitor["spec"]["selector"]["matchLabels"].items()
    ]
    named = [
        {"source_labels": [f"__meta_kubernetes_{source}"], "target_label": label}
        for source, label in (
            ("namespace", "namespace"), ("service_name", "service"), ("service_name", "job"), ("pod_name", "pod"),
            ("pod_container_name", "container"),
        )
    ]  # fmt: skip
    ended = {"source_labels": ["__meta_kubernetes_pod_phase"], "regex": "(Failed|Succeeded)", "action": "drop"}
    return {
        "job_name": monitor["metadata"]["name"], "metrics_path": endpoint["path"],
        "kubernetes_sd_configs": [{"role": "endpointslice", "kubeconfig_file": kubeconfig}],
        "relabel_configs": [
            *kept, _kept("pod_container_port_number", str(endpoint["targetPort"])), ended, *named],
    }  # fmt: skip


def _kept(label: str, value: str) -> dict[str, Any]:
    return {"source_labels": [f"__meta_kubernetes_{label}"], "regex": re.escape(value), "action": "keep"}


def _sanitised(name: str) -> str:
    return re.sub(r"\W", "_", name)


def _account() -> list[dict[str, Any]]:
    """The rights that discovery needs, and no others."""
    named = {"name": "prometheus", "namespace": NAMESPACE}
    read = ["get", "list", "watch"]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "prometheus"}
    # The label lets it through the manifests' NetworkPolicies.
    labels = {"shoprank.example/may-scrape": "true"}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "prometheus"},
         "rules": [{"apiGroups": [""], "resources": ["services", "pods"], "verbs": read},
                   {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "prometheus"},
         "roleRef": role, "subjects": [{"kind": "ServiceAccount", **named}]},
    ]  # fmt: skip


def _service(network: Network, port: int) -> list[dict[str, Any]]:
    ports, named = [{"name": "http", "port": port, "protocol": "TCP"}], {"name": "prometheus", "namespace": NAMESPACE}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": named,
         "spec": {"ports": [{"name": "http", "port": 9090, "targetPort": port}]}},
        {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
         "metadata": {**named, "labels": {"kubernetes.io/service-name": "prometheus"}},
         "endpoints": [{"addresses": [network.node]}], "ports": ports},
    ]  # fmt: skip
