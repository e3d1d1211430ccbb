"""A real S3 server (SeaweedFS) on loopback, for the tests of a registry in an object store."""

import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.cluster.platform.processes import Processes, answers
from tests.cluster.platform.programs import binary, build_one
from tests.cluster.platform.seaweedfs import start_seaweedfs
from tests.ports import free_port

_PORTS = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc",
          "s3.port", "s3.port.grpc")  # fmt: skip


@dataclass(frozen=True)
class S3Server:
    """A running server.

    Attributes:
        port: on 127.0.0.1.
        pid: of its process.
    """

    port: int
    pid: int
    access_key: str = "registry"
    secret_key: str = "registry-secret"

    def environment(self, port: int = 0) -> dict[str, str]:
        """The variables that a client reads.

        Args:
            port: Of a proxy in front of the server; 0: the server's own.
        """
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or self.port}", "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key, "AWS_DEFAULT_REGION": "us-east-1",
        }  # fmt: skip


@contextlib.contextmanager
def running(folder: Path) -> Iterator[S3Server]:
    """Start the server with its files in a folder; the kernel kills it when this process ends.

    Raises:
        Failed: it did not start, or another process owns its port.
    """
    ports = _free_ports()
    server = S3Server(ports["s3.port"], 0)
    identity = {
        "name": "registry", "actions": ["Admin"],
        "credentials": [{"accessKey": server.access_key, "secretKey": server.secret_key}],
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "identities.json").write_text(json.dumps({"identities": [identity]}))
    processes = Processes(folder / "logs")
    start_seaweedfs(processes, folder, "127.0.0.1", ports)
    try:
        pid = processes.pids()["seaweedfs"]
        processes.wait("seaweedfs", lambda: answers(f"http://127.0.0.1:{server.port}/healthz"))
        owners = {one.pid for one in psutil.net_connections("tcp4") if one.laddr and one.laddr.port == server.port
                  and one.status == psutil.CONN_LISTEN}  # fmt: skip
        assert owners == {pid}, f"port {server.port} belongs to {owners}, not to {pid}"
        yield S3Server(server.port, pid)
    finally:
        processes.stop()


def _free_ports() -> dict[str, int]:
    found = dict[str, int]()
    while len(found) < len(_PORTS):
        port = free_port()
        if port not in found.values():
            found[_PORTS[len(found)]] = port
    return found


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """The server; skipped by name where it is not built and cannot be."""
    if not binary("seaweedfs").exists() and shutil.which("go") is None:
        pytest.skip("no S3 server: seaweedfs is not built and Go is not installed")
    build_one("seaweedfs", lambda line: print(line, file=sys.stderr))
    with running(tmp_path_factory.mktemp("s3")) as server:
        yield server


if __name__ == "__main__":
    # Holds a server until it is killed, for the test that none is left behind.
    with running(Path(sys.argv[1])) as held:
        print(held.pid, os.getpid(), flush=True)
        signal.pause()
