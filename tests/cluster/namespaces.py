"""A namespace of the platform with our manifests: restricted pods, a registry folder of the test, a Gateway."""

import json
import os
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from components.shared.cluster.api import Cluster, RetryPolicy, connect
from components.shared.tests.waiting import eventually
from tests.cluster.platform.client import Platform
from tests.cluster.platform.layout import CHECKOUT
from tests.cluster.platform.programs import binary

MANIFESTS = CHECKOUT / "manifests"

# A predictor for two cores, and the volume in a folder of the test.
_PATCHES = [
    {"target": {"kind": "ServingRuntime", "name": "shoprank"}, "patch": json.dumps([
        {"op": "replace", "path": "/spec/containers/0/resources",
         "value": {"requests": {"cpu": "20m", "memory": "200Mi"}, "limits": {"cpu": "2", "memory": "2Gi"}}}])},
    {"target": {"kind": "PersistentVolumeClaim", "name": "shoprank-registry"}, "patch": json.dumps([
        {"op": "add", "path": "/spec/storageClassName", "value": ""},
        {"op": "add", "path": "/spec/volumeName", "value": "NAMESPACE"}])},
]  # fmt: skip


class Namespace:
    """A namespace with manifests/base, the inference log and a Gateway.

    Args:
        platform: The platform with pods.
        folder: Mounted as the registry's volume: holds `registry` and `inference-log`.
        public_key: Of the bundles in it.
        work: For rendered manifests.
    """

    def __init__(self, platform: Platform, folder: Path, public_key: Path, work: Path):
        self.platform, self.folder, self._work = platform, folder, work
        self.name = f"t-{uuid.uuid4().hex[:10]}"
        (folder / "inference-log").mkdir(exist_ok=True)
        self.share()
        self.apply([*restricted(self.name), folder_volume(self.name, folder)])
        self.kubectl("create", "configmap", "shoprank-signing-key", f"--from-file=signing.pem.pub={public_key}")
        self.apply(self.manifests())

    def share(self) -> None:
        """Let pods, which run as user 1000, read the folder and write the log."""
        subprocess.run(["chmod", "-R", "a+rX", self.folder], check=True)
        (self.folder / "inference-log").chmod(0o777)

    def kubectl(self, *words: str, given: str = "") -> str:
        """Run kubectl in this namespace."""
        return self.platform.kubectl("-n", self.name, *words, given=given)

    def connect(self, patience: RetryPolicy | None = None) -> Cluster:
        """Connect as our code does."""
        before = os.environ.get("KUBECONFIG")
        os.environ["KUBECONFIG"] = str(self.platform.kubeconfig)
        try:
            return connect(namespace=self.name, patience=patience)
        finally:
            os.environ.pop("KUBECONFIG") if before is None else os.environ.update(KUBECONFIG=before)

    def gateway_url(self) -> str:
        """Address of the Gateway's Envoy, as soon as it answers."""
        assert eventually(lambda: self._gateway_address(), poll_s=0.5), self.kubectl("get", "gateway", "-o", "yaml")
        return f"http://{self._gateway_address()}"

    def pods(self, deployment: str) -> list[dict]:
        """Pods of a predictor that are not ending."""
        found = json.loads(self.kubectl("get", "pods", "-l", f"app=isvc.{deployment}", "-o", "json"))["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def remove(self) -> None:
        """Delete everything, without waiting."""
        self.platform.kubectl("delete", "namespace", self.name, "--wait=false")
        self.platform.kubectl("delete", "persistentvolume", self.name, "--wait=false")

    def _gateway_address(self) -> str:
        found = json.loads(self.kubectl("get", "gateway", "shoprank", "-o", "json")).get("status", {})
        ready = {one["type"]: one["status"] for one in found.get("conditions", [])}.get("Programmed") == "True"
        return found["addresses"][0]["value"] if ready else ""

    def apply(self, documents: list[dict], *words: str) -> None:
        """Apply objects, also of other namespaces."""
        given = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
        self.platform.kubectl("apply", "--server-side", *words, "-f", "-", given=given)

    def manifests(self) -> list[dict]:
        """manifests/base with inference log and Gateway, for two cores and the volume of this namespace."""
        folder = self._work / self.name
        folder.mkdir(parents=True)
        up = os.path.relpath(MANIFESTS, folder)
        (folder / "kustomization.yaml").write_text(json.dumps({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": self.name,
            "resources": [f"{up}/base"], "components": [f"{up}/components/inference-log", f"{up}/components/gateway"],
            "patches": json.loads(json.dumps(_PATCHES).replace("NAMESPACE", self.name)),
        }))  # fmt: skip
        command = [binary("kubernetes"), "kubectl", "kustomize", "--load-restrictor=LoadRestrictionsNone", folder]
        rendered = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return list(yaml.load_all(rendered, yaml.CSafeLoader))


def restricted(name: str) -> list[dict]:
    """A namespace that admits restricted pods only, and the class of its Gateway."""
    labels = {"shoprank.example/may-ask": "true", "pod-security.kubernetes.io/enforce": "restricted"}
    gateway_class = [one for one in yaml.safe_load_all((MANIFESTS / "overlays/kind/gateway-class.yaml").read_text())]
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}, *gateway_class]


def folder_volume(name: str, folder: Path, namespace: str = "", claim: str = "shoprank-registry") -> dict:
    """A folder of this machine as the volume of a claim, by default of the namespace called like the volume."""
    return {
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteMany"], "capacity": {"storage": "20Gi"}, "storageClassName": "",
                 "claimRef": {"namespace": namespace or name, "name": claim}, "hostPath": {"path": str(folder)}},
    }  # fmt: skip


@pytest.fixture(scope="session")
def service_names(node: Platform) -> Iterator[None]:
    """Names of Services resolve in this process as they do in pods."""
    resolve = socket.getaddrinfo

    def resolved(host, *arguments, **options):
        if isinstance(host, str) and host.endswith(".svc.cluster.local"):
            name, namespace = host.split(".")[:2]
            try:
                host = node.kubectl("-n", namespace, "get", "service", name, "-o", "jsonpath={.spec.clusterIP}")
            except AssertionError as error:
                raise socket.gaierror(socket.EAI_NONAME, f"no Service {name} in {namespace}") from error
        return resolve(host, *arguments, **options)

    socket.getaddrinfo = resolved
    yield
    socket.getaddrinfo = resolve
