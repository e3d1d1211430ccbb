"""Fixtures with a real API server: any cluster that has the custom resources, or the one for tests beside the project.

KUBECONFIG or `--kube-context` names a cluster; else ../shared/tools/crd_apiserver.py is started (SHOPRANK_CRD_APISERVER
names it elsewhere). It stores, validates, patches and watches; nothing acts on its objects but the tests.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from components.shared.cluster.api import Cluster, RetryPolicy, connect

TOOL = Path(os.environ.get("SHOPRANK_CRD_APISERVER", Path(__file__).parents[3] / "shared/tools/crd_apiserver.py"))
QUICK = RetryPolicy(connects=12, statuses=2, unknown_kind_s=2.0)


@dataclass
class ApiServer:
    """A started API server, which tests can pause and restart.

    Attributes:
        folder: its files. kubeconfig: how to reach it.
    """

    folder: Path
    kubeconfig: Path
    revived: list[subprocess.Popen[bytes]] = field(default_factory=list)
    connected: list[Cluster] = field(default_factory=list)

    def connect(self, patience: RetryPolicy = QUICK) -> Cluster:
        """Connect to a new namespace."""
        before = os.environ.get("KUBECONFIG")
        os.environ["KUBECONFIG"] = str(self.kubeconfig)
        try:
            self.connected.append(connect(namespace=f"t-{uuid.uuid4().hex[:12]}", patience=patience))
            return self.connected[-1]
        finally:
            os.environ.pop("KUBECONFIG") if before is None else os.environ.update(KUBECONFIG=before)

    def pause(self) -> None:
        """Stop answering: connections hang, as behind a dead load balancer."""
        os.kill(self._pid(), signal.SIGSTOP)

    def go_on(self) -> None:
        """Answer again."""
        os.kill(self._pid(), signal.SIGCONT)

    def restart(self, away_s: float) -> None:
        """Kill the server, and start it again later on the same port with the same objects."""
        command = [os.fsdecode(word) for word in Path(f"/proc/{self._pid()}/cmdline").read_bytes().split(b"\0") if word]
        os.kill(self._pid(), signal.SIGKILL)
        time.sleep(away_s)
        with (self.folder / "apiserver.log").open("a") as log:
            process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True)
        self.revived.append(process)
        (self.folder / "apiserver.pid").write_text(str(process.pid))

    def stop(self) -> None:
        """End server and store."""
        for cluster in self.connected:
            cluster.close()
        subprocess.run([sys.executable, TOOL, "stop", "--dir", self.folder], check=False, timeout=60)
        for process in self.revived:
            process.wait(30)

    def _pid(self) -> int:
        return int((self.folder / "apiserver.pid").read_text())


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """The API server for tests; skipped with a reason where it cannot start."""
    missing = [program for program in ("etcd", "zstd", "openssl") if shutil.which(program) is None]
    if missing or not TOOL.exists():
        lack = f"no {', '.join(missing)} (Debian: etcd-server, zstd, openssl)" if missing else f"no {TOOL}"
        pytest.skip(f"no API server for custom resources: {lack}")
    folder = tmp_path_factory.mktemp("api-server")
    server = ApiServer(folder, folder / "kubeconfig")
    try:
        started = subprocess.run(
            [sys.executable, TOOL, "start", "--dir", folder], capture_output=True, text=True, check=False, timeout=120
        )
        assert started.returncode == 0, started.stderr
        yield server
    finally:
        server.stop()


@pytest.fixture
def cluster(api_server: ApiServer) -> Cluster:
    """An empty namespace of the API server."""
    return api_server.connect()
