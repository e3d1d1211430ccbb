"""Starts the platform of this checkout, or joins a running one, and ends it with the last that needs it."""

import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.platform import node
from tests.cluster.platform.layout import CHECKOUT, Network, cache, free_network, is_used, state_folder
from tests.cluster.platform.manifests import render
from tests.cluster.platform.programs import binary, build, missing
from tests.cluster.platform.wheels import fetch

START_S = 180.0
_NETWORKS = Path("/tmp/shoprank-networks.lock")
_launched: list[subprocess.Popen[bytes]] = []
"""Supervisors of this process, which outlive it if others use the platform; an object that is gone would warn."""


class Unavailable(RuntimeError):
    """The platform cannot run here; the message names what is missing."""


@dataclass(frozen=True)
class Platform:
    """A running platform.

    Attributes:
        folder: its files. facts: what the supervisor says of it.
    """

    folder: Path
    facts: dict[str, Any]

    @property
    def kubeconfig(self) -> Path:
        """Credentials of the administrator."""
        return Path(self.facts["kubeconfig"])

    @property
    def has_node(self) -> bool:
        """Whether pods run."""
        return bool(self.facts["node"])

    @property
    def prometheus(self) -> str:
        """Address of Prometheus, '' where no pods run."""
        return self.facts["prometheus"]

    def kubectl(self, *words: str, given: str = "") -> str:
        """Run kubectl as the administrator.

        Raises:
            AssertionError: it failed; the message is kubectl's.
        """
        command = [binary("kubernetes"), "kubectl", "--kubeconfig", self.kubeconfig, *words]
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
        return done.stdout

    def log(self, program: str) -> str:
        """What a program of the platform has logged."""
        return (self.folder / "logs" / f"{program}.log").read_text(errors="replace")


def lacks() -> str:
    """What the platform lacks on this machine, '' if nothing; without root there is no node and less is needed."""
    if missing(node_possible() == "") and shutil.which("go") is None:
        return "no Go, which builds the platform's programs"
    return ""


def node_possible() -> str:
    """Why no node can run here, '' if one can."""
    if os.geteuid() != 0:
        return "pods need root"
    absent = [name for name in node.PROGRAMS if shutil.which(name) is None]
    if not node.PLUGINS.exists():
        absent.append("containernetworking-plugins")
    return f"pods need {', '.join(absent)}" if absent else ""


@contextlib.contextmanager
def running(tell: Callable[[str], None] = print) -> Iterator[Platform]:
    """The platform, while the body runs; others may use it at the same time.

    Raises:
        Unavailable: it cannot run here, or did not start.
    """
    connection, platform = _joined(tell, keep=False)
    with contextlib.closing(connection):
        yield platform


def up(tell: Callable[[str], None] = print) -> Platform:
    """Start the platform if it does not run; it stays until `down`."""
    connection, platform = _joined(tell, keep=True)
    with contextlib.closing(connection):
        # It may have been started by tests, with which it would end.
        connection.sendall(b"keep")
    return platform


def down() -> bool:
    """End the platform, whoever uses it, and remove what a killed one left; False if there was none."""
    folder = state_folder()
    if not folder.exists():
        return False
    connection = _connect(folder)
    if connection:
        with contextlib.closing(connection):
            connection.sendall(b"down")
    deadline = time.monotonic() + 30
    while folder.exists() and _alive(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    _clean(folder)
    return True


def status() -> dict[str, Any] | None:
    """What the supervisor says of a running platform; None if there is none."""
    folder = state_folder()
    connection = _connect(folder)
    if connection is None:
        return None
    with contextlib.closing(connection), contextlib.suppress(_Ended):
        return _facts(folder, connection).facts
    return None


class _Ended(Exception):
    """The platform was just ending."""


def _joined(tell: Callable[[str], None], keep: bool) -> tuple[socket.socket, Platform]:
    """Connect to the platform and wait until it serves; one that is just ending is started anew."""
    folder = state_folder()
    for _ in range(5):
        connection = _join(tell, keep)
        try:
            return connection, _facts(folder, connection)
        except _Ended:
            connection.close()
            deadline = time.monotonic() + 20
            while folder.exists() and time.monotonic() < deadline:
                time.sleep(0.1)
    raise Unavailable("the platform ended each time while this process joined it")


def prepare(tell: Callable[[str], None]) -> None:
    """Build and fetch what is not in the cache yet."""
    build(node_possible() == "", tell)
    render()
    if node_possible() == "":
        fetch()


def _join(tell: Callable[[str], None], keep: bool) -> socket.socket:
    folder = state_folder()
    lack = lacks()
    if lack:
        raise Unavailable(lack)
    with _kept(folder, "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        connection = _connect(folder)
        if connection is None:
            prepare(tell)
            _clean(folder)
            _launch(folder, keep)
            deadline = time.monotonic() + 20
            while (connection := _connect(folder)) is None:
                if time.monotonic() > deadline:
                    raise Unavailable(f"the platform's supervisor did not start: {_failure(folder)}")
                time.sleep(0.05)
        return connection


def _launch(folder: Path, keep: bool) -> None:
    if node_possible():
        _supervise(folder, None, keep)
        return
    with _NETWORKS.open("w") as lock:
        # Of the whole machine: two platforms that start together would choose the same network.
        fcntl.flock(lock, fcntl.LOCK_EX)
        network = free_network()
        process, deadline = _supervise(folder, network, keep), time.monotonic() + 10
        while not is_used(network.number) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)


def _supervise(folder: Path, network: Network | None, keep: bool) -> subprocess.Popen[bytes]:
    folder.mkdir(mode=0o711)
    words = [str(folder), str(network.number) if network else "", "keep" if keep else ""]
    with _kept(folder, "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.platform", "supervise", *words], cwd=CHECKOUT,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    _launched.append(process)
    (folder / "owner.json").write_text(json.dumps({"pid": process.pid, "network": network.number if network else None}))
    return process


def _connect(folder: Path) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(folder / "socket"))
    except OSError:
        connection.close()
        return None
    return connection


def _facts(folder: Path, connection: socket.socket) -> Platform:
    """Wait until the supervisor has started everything and greets; it greets when it serves."""
    connection.settimeout(START_S)
    try:
        greeting = connection.recv(2)
    except TimeoutError as error:
        raise Unavailable(f"the platform was not up within {START_S:.0f} s; logs: {folder / 'logs'}") from error
    except ConnectionResetError:
        greeting = b""
    if greeting == b"ok":
        return Platform(folder, json.loads((folder / "facts.json").read_text()))
    said = _failure(folder)
    if said:
        raise Unavailable(f"the platform did not start: {said}")
    raise _Ended


def _failure(folder: Path) -> str:
    log = _kept(folder, "log")
    return log.read_text(errors="replace")[-3000:] if log.exists() else ""


def _kept(folder: Path, kind: str) -> Path:
    """A file about the platform in a folder that stays when it ends."""
    path = cache() / "platforms" / f"{folder.name}.{kind}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _alive(folder: Path) -> bool:
    try:
        owner = json.loads((folder / "owner.json").read_text())
        os.kill(owner["pid"], 0)
    except (OSError, ValueError):
        return False
    return "tests.cluster.platform" in Path(f"/proc/{owner['pid']}/cmdline").read_text()


def _clean(folder: Path) -> None:
    """Remove the files and control groups of a platform whose processes are gone."""
    with contextlib.suppress(OSError, ValueError):
        network = json.loads((folder / "owner.json").read_text())["network"]
        if network:
            node.remove_cgroups(Network(network))
    shutil.rmtree(folder, ignore_errors=True)
