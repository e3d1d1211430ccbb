"""KServe, Trainer and JobSet beside the API server, each with its own service account's rights and webhooks by URL."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.platform.control_plane import ControlPlane
from tests.cluster.platform.layout import CHECKOUT
from tests.cluster.platform.manifests import PARTS, objects
from tests.cluster.platform.processes import answers
from tests.cluster.platform.programs import binary


@dataclass(frozen=True)
class _Account:
    """The service account of a controller."""

    namespace: str
    name: str


_ACCOUNTS = {
    "kserve": _Account("kserve", "kserve-controller-manager"),
    "jobset": _Account("jobset-system", "jobset-controller-manager"),
    "trainer": _Account("kubeflow-system", "kubeflow-trainer-controller-manager"),
}


def apply_parts(plane: ControlPlane) -> None:
    """Apply CRDs, rights, configuration and webhooks of the controllers."""
    plane.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kserve"}}])
    served = defaultdict[str, set[str]](set)
    for part in PARTS:
        found = objects(part, f"https://{plane.layout.address}:{plane.ports.get(part, 0)}", plane.authority.ca)
        # In this order: namespaces and kinds, what is of them, and webhooks, which nobody answers yet.
        plane.apply([one for one in found if _order(one) == 0])
        plane.apply([one for one in found if _order(one) == 1])
        plane.apply([one for one in found if _order(one) == 2])
        for one in found:
            for version in one["spec"]["versions"] if one["kind"] == "CustomResourceDefinition" else ():
                if version["served"]:
                    served[f"/apis/{one['spec']['group']}/{version['name']}"].add(one["spec"]["names"]["plural"])
    # As `shoprank kind up` does, for bundles in an object store.
    storage = CHECKOUT / "manifests" / "storage-initializer" / "storage-container.yaml"
    plane.apply([yaml.safe_load(storage.read_text())])
    for path, kinds in sorted(served.items()):
        # A controller that starts before all its kinds are listed ends at once; a group is listed with its first one.
        plane.processes.wait("kube-apiserver", lambda path=path, kinds=kinds: kinds <= plane.listed(path))
    _standard_mode(plane)
    _knative_settings(plane)


def _order(one: dict[str, Any]) -> int:
    return 0 if one["kind"] in ("CustomResourceDefinition", "Namespace") else 2 if "webhooks" in one else 1


def _standard_mode(plane: ControlPlane) -> None:
    """As `shoprank kind up` does: Standard mode, and no routes of KServe's own."""
    data = json.loads(plane.kubectl("-n", "kserve", "get", "configmap", "inferenceservice-config", "-o", "json"))[
        "data"
    ]
    deploy, ingress = json.loads(data["deploy"]), json.loads(data["ingress"])
    deploy["defaultDeploymentMode"] = "Standard"
    ingress["disableIngressCreation"] = True
    patch = {"data": {"deploy": json.dumps(deploy), "ingress": json.dumps(ingress)}}
    plane.kubectl("-n", "kserve", "patch", "configmap", "inferenceservice-config", "-p", json.dumps(patch))


def _knative_settings(plane: ControlPlane) -> None:
    """What KServe reads of Knative in Knative mode: the autoscaler's settings, with the defaults that Knative ships."""
    named = {"name": "config-autoscaler", "namespace": "knative-serving"}
    plane.apply([
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": named["namespace"]}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": named, "data": {}},
    ])  # fmt: skip


def start_controllers(plane: ControlPlane) -> None:
    """Start the three controllers and wait until their webhooks answer."""
    for start in (_jobset, _trainer, _kserve):
        start(plane)
    for name in ("jobset", "trainer", "kserve"):
        health = f"http://127.0.0.1:{plane.ports[f'{name}-health']}/readyz"
        plane.processes.wait(name, lambda health=health: answers(health))
        # The probe of KServe's manager does not wait for its webhooks.
        hook = f"https://{plane.layout.address}:{plane.ports[name]}/"
        plane.processes.wait(name, lambda hook=hook: _listens(hook))


def _listens(url: str) -> bool:
    import socket
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 443), timeout=1).close()
    except OSError:
        return False
    return True


def _environment(plane: ControlPlane, name: str) -> dict[str, str]:
    """Credentials and certificates; all three look for the latter below the folder for temporary files."""
    account = _ACCOUNTS[name]
    folder = plane.layout.folder / name
    served = folder / "k8s-webhook-server" / "serving-certs"
    served.mkdir(parents=True)
    own = plane.authority.certificate(f"webhook-{name}", name, hosts=(plane.layout.address, "localhost"))
    for link, target in (("tls.crt", own), ("tls.key", own.with_suffix(".key"))):
        (served / link).symlink_to(target)
    credentials = plane.service_account(account.namespace, account.name)
    return {"KUBECONFIG": str(credentials), "TMPDIR": str(folder), "POD_NAMESPACE": account.namespace}


def _kserve(plane: ControlPlane) -> None:
    plane.processes.start("kserve", [
        binary("kserve"), "--metrics-addr=0", f"--webhook-port={plane.ports['kserve']}",
        f"--health-probe-addr=127.0.0.1:{plane.ports['kserve-health']}",
    ], _environment(plane, "kserve"))  # fmt: skip


def _jobset(plane: ControlPlane) -> None:
    config = _config(plane, "jobset", {
        "apiVersion": "config.jobset.x-k8s.io/v1alpha1", "kind": "Configuration",
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": False}, "webhook": {"port": plane.ports["jobset"]},
        "health": {"healthProbeBindAddress": f"127.0.0.1:{plane.ports['jobset-health']}"},
        "metrics": {"bindAddress": f"127.0.0.1:{plane.ports['jobset-metrics']}"},
    })  # fmt: skip
    plane.processes.start("jobset", [binary("jobset"), f"--config={config}"], _environment(plane, "jobset"))


def _trainer(plane: ControlPlane) -> None:
    config = _config(plane, "trainer", {
        "apiVersion": "config.trainer.kubeflow.org/v1alpha1", "kind": "Configuration",
        "leaderElection": {"leaderElect": False}, "certManagement": {"enable": False},
        "webhook": {"port": plane.ports["trainer"]},
        "health": {"healthProbeBindAddress": f"127.0.0.1:{plane.ports['trainer-health']}"},
        "metrics": {"bindAddress": f"127.0.0.1:{plane.ports['trainer-metrics']}", "secureServing": False},
        "statusServer": {"port": plane.ports["trainer-status"]},
    })  # fmt: skip
    plane.processes.start("trainer", [binary("trainer"), f"--config={config}"], _environment(plane, "trainer"))


def _config(plane: ControlPlane, name: str, content: dict[str, Any]) -> Path:
    path = plane.layout.folder / f"{name}.json"
    path.write_text(json.dumps(content))
    return path
