"""etcd, API server, controller manager and scheduler."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.platform.certificates import Authority, encoded, service_account_key
from tests.cluster.platform.layout import Layout
from tests.cluster.platform.ports import Ports
from tests.cluster.platform.processes import Processes, answers
from tests.cluster.platform.programs import binary


@dataclass(frozen=True)
class ControlPlane:
    """A running API server.

    Attributes:
        layout: its files. authority: signs the certificates of its users. ports: of all programs.
        processes: started programs.
    """

    layout: Layout
    authority: Authority
    ports: Ports
    processes: Processes

    @property
    def server(self) -> str:
        """URL of the API server."""
        return f"https://{self.layout.address}:{self.ports['apiserver']}"

    def user(self, name: str, *groups: str) -> Path:
        """Write a kubeconfig for a user; its certificate is all that it needs."""
        file = name.replace(":", "-")
        certificate = self.authority.certificate(f"user-{file}", name, groups)
        credentials = {
            "client-certificate-data": encoded(certificate), "client-key-data": encoded(certificate.with_suffix(".key"))
        }  # fmt: skip
        return self.authority.kubeconfig(self.layout.kubeconfig(file), self.server, credentials)

    def service_account(self, namespace: str, name: str) -> Path:
        """Write a kubeconfig with a token of a service account, and so with exactly its rights."""
        token = self.kubectl("-n", namespace, "create", "token", name, "--duration=24h").strip()
        path = self.layout.kubeconfig(f"{namespace}-{name}")
        return self.authority.kubeconfig(path, self.server, {"token": token})

    def apply(self, objects: Sequence[dict[str, Any]]) -> None:
        """Apply objects on the server's side.

        Raises:
            RuntimeError: the API server refused one; the message is kubectl's.
        """
        if not objects:
            return
        command = [binary("kubernetes"), "kubectl", "--kubeconfig", self.layout.kubeconfig(), "apply", "--server-side",
                   "--force-conflicts", "--validate=false",
                   "-f", "-"]  # fmt: skip
        content = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        done = subprocess.run(command, input=content, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"kubectl apply: {done.stderr[-2000:]}")

    def answers(self, path: str) -> bool:
        """Whether a path of the API can be read."""
        return self._read(path) is not None

    def listed(self, path: str) -> set[str]:
        """Plural names of the kinds that a group's version lists; none while it cannot be read."""
        return {one["name"] for one in json.loads(self._read(path) or '{"resources": []}')["resources"]}

    def _read(self, path: str) -> str | None:
        command = [binary("kubernetes"), "kubectl", "--kubeconfig", self.layout.kubeconfig(), "get", "--raw", path]
        done = subprocess.run(command, capture_output=True, text=True)
        return None if done.returncode else done.stdout

    def kubectl(self, *words: str) -> str:
        """Run kubectl as the administrator and return what it prints.

        Raises:
            CalledProcessError: kubectl failed.
        """
        command = [binary("kubernetes"), "kubectl", "--kubeconfig", self.layout.kubeconfig(), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def start_control_plane(layout: Layout, ports: Ports, processes: Processes) -> ControlPlane:
    """Start etcd, API server, controller manager and scheduler, and wait for the API server."""
    authority = Authority(layout.folder / "certificates")
    plane = ControlPlane(layout, authority, ports, processes)
    _etcd(plane)
    _api_server(plane)
    plane.user("admin", "system:masters")
    processes.wait("kube-apiserver", lambda: plane.answers("/api/v1/namespaces/kube-system"))
    _controllers(plane)
    return plane


def _etcd(plane: ControlPlane) -> None:
    client = f"http://127.0.0.1:{plane.ports['etcd']}"
    plane.processes.start("etcd", [
        binary("etcd"), "--data-dir", plane.layout.folder / "etcd", "--unsafe-no-fsync", "--log-level=warn",
        "--listen-client-urls", client, "--advertise-client-urls", client,
        "--listen-peer-urls", f"http://127.0.0.1:{plane.ports['etcd-peer']}",
    ])  # fmt: skip
    plane.processes.wait("etcd", lambda: answers(f"{client}/health"))


def _api_server(plane: ControlPlane) -> None:
    authority, layout = plane.authority, plane.layout
    services = layout.network.services if layout.network else "10.254.0.0/18"
    first = f"{services.rsplit('.', 1)[0]}.1"
    names = (
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "localhost",
        "127.0.0.1",
        first,
        layout.address,
    )
    own = authority.certificate("apiserver", "kube-apiserver", hosts=names)
    client = authority.certificate("apiserver-kubelet", "kube-apiserver-kubelet", ("system:masters",))
    key = service_account_key(layout.folder / "certificates" / "service-accounts.key")
    plane.processes.start("kube-apiserver", [
        binary("kubernetes"), "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{plane.ports['etcd']}",
        f"--advertise-address={layout.address}", f"--bind-address={layout.address}",
        f"--secure-port={plane.ports['apiserver']}", f"--service-cluster-ip-range={services}",
        f"--tls-cert-file={own}", f"--tls-private-key-file={own.with_suffix('.key')}",
        f"--client-ca-file={authority.ca}", f"--kubelet-certificate-authority={authority.ca}",
        f"--kubelet-client-certificate={client}", f"--kubelet-client-key={client.with_suffix('.key')}",
        "--kubelet-preferred-address-types=InternalIP", "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction", "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
        # An address of this machine's loopback is refused as that of an endpoint, so none is written there.
        *(() if layout.network else ("--endpoint-reconciler-type=none",)),
        # Load balancers and slow probes have no use of the grace here.
        "--shutdown-delay-duration=0s", "--profiling=false", "--anonymous-auth=true", "--v=1",
    ])  # fmt: skip


def _controllers(plane: ControlPlane) -> None:
    layout, authority = plane.layout, plane.authority
    manager = plane.user("system:kube-controller-manager")
    scheduler = plane.user("system:kube-scheduler")
    pods = (
        [f"--cluster-cidr={layout.network.pods}", "--allocate-node-cidrs"]
        if layout.network
        else ["--allocate-node-cidrs=false"]
    )
    plane.processes.start("kube-controller-manager", [
        binary("kubernetes"), "kube-controller-manager", f"--kubeconfig={manager}", f"--root-ca-file={authority.ca}",
        f"--service-account-private-key-file={layout.folder / 'certificates' / 'service-accounts.key'}",
        "--use-service-account-credentials", "--leader-elect=false", "--bind-address=127.0.0.1",
        f"--secure-port={plane.ports['controller-manager']}",
        f"--cluster-signing-cert-file={authority.ca}", f"--cluster-signing-key-file={authority.ca.with_suffix('.key')}",
        # Seconds instead of minutes where a test waits for them.
        "--horizontal-pod-autoscaler-sync-period=2s", "--node-monitor-grace-period=20s", *pods,
    ])  # fmt: skip
    plane.processes.start("kube-scheduler", [
        binary("kubernetes"), "kube-scheduler", f"--kubeconfig={scheduler}", "--leader-elect=false",
        "--bind-address=127.0.0.1", f"--secure-port={plane.ports['scheduler']}",
    ])  # fmt: skip


def is_root() -> bool:
    """Whether this user may run a node."""
    return os.geteuid() == 0
