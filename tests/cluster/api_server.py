"""Fixtures with the platform's API server, behind a proxy of the test's own that can hang and be away.

The platform is shared by all tests, so nothing is done to its server; each test gets namespaces that end with it.
"""

import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import kubernetes
import pytest

from components.shared.cluster.api import Cluster, RetryPolicy, connect
from tests.cluster.platform.client import Platform
from tests.cluster.platform.fixture import own_only
from tests.cluster.platform.layout import CHECKOUT
from tests.cluster.tcp_proxy import TcpProxy

QUICK = RetryPolicy(connects=12, statuses=2, unknown_kind_s=2.0)
_RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@dataclass
class ApiServer:
    """The platform's API server, as seen through a proxy.

    Attributes:
        platform: whose server it is. kubeconfig: how to reach the proxy. proxy: in front of the server.
        connected: connections of the test, each to a namespace of its own.
    """

    platform: Platform
    kubeconfig: Path
    proxy: TcpProxy
    connected: list[Cluster] = field(default_factory=list)

    @classmethod
    def of(cls, platform: Platform, folder: Path) -> "ApiServer":
        """Put a proxy in front of the platform's server; `folder` gets a kubeconfig with its address."""
        content = json.loads(platform.kubeconfig.read_text())
        cluster = content["clusters"][0]["cluster"]
        address = urlsplit(cluster["server"])
        proxy = TcpProxy((address.hostname or "", address.port or 443))
        # The certificate of the server names 127.0.0.1 too.
        cluster["server"] = f"https://127.0.0.1:{proxy.port}"
        path = folder / "kubeconfig"
        path.touch(mode=0o600)
        path.write_text(json.dumps(content))
        return cls(platform, path, proxy)

    def connect(self, patience: RetryPolicy = QUICK) -> Cluster:
        """Connect to a new namespace, through the proxy."""
        found = self.join(f"t-{uuid.uuid4().hex[:12]}", patience)
        self.connected.append(found)
        body = {"metadata": {"name": found.namespace, "labels": _RESTRICTED}}
        kubernetes.client.CoreV1Api(found.client).create_namespace(body)
        return found

    def join(self, namespace: str, patience: RetryPolicy | None = None) -> Cluster:
        """Connect to a namespace of somebody else, through the proxy; None: as patiently as our code does."""
        before = os.environ.get("KUBECONFIG")
        os.environ["KUBECONFIG"] = str(self.kubeconfig)
        try:
            return connect(namespace=namespace, patience=patience)
        finally:
            os.environ.pop("KUBECONFIG") if before is None else os.environ.update(KUBECONFIG=before)

    def pause(self) -> None:
        """Stop answering: connections hang, as behind a dead load balancer."""
        self.proxy.pause()

    def go_on(self) -> None:
        """Answer again."""
        self.proxy.go_on()

    def restart(self, away_s: float) -> None:
        """End all connections and watches, and refuse new ones for a while."""
        self.proxy.away(away_s)

    def stop(self) -> None:
        """Close all connections, and delete the namespaces without waiting for their end."""
        self.go_on()
        for cluster in self.connected:
            cluster.close()
        self.proxy.close()
        if self.connected:
            names = [cluster.namespace for cluster in self.connected]
            self.platform.kubectl("delete", "namespace", "--wait=false", "--ignore-not-found", *names)


@pytest.fixture(scope="session")
def training_runtime(platform: Platform) -> None:
    """The ClusterTrainingRuntime of manifests/cluster; without it Trainer refuses every TrainJob of ours."""
    own_only(platform)
    platform.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(CHECKOUT / "manifests/cluster"))


@pytest.fixture
def api_server(
    platform: Platform, training_runtime: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """The platform's API server behind a proxy of this test; skipped with a reason where the platform cannot run."""
    server = ApiServer.of(platform, tmp_path_factory.mktemp("api-server"))
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def cluster(api_server: ApiServer) -> Cluster:
    """A new namespace of the platform."""
    return api_server.connect()
