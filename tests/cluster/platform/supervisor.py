"""Holds the platform: starts its programs, serves clients that need it, and takes everything down after the last.

As root it lives in process, mount and network namespaces of its own as process 1, so the kernel ends every process,
mount and interface of the platform with it, even after SIGKILL. Elsewhere the programs ask to be killed with it.
"""

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.platform import node
from tests.cluster.platform.control_plane import start_control_plane
from tests.cluster.platform.controllers import apply_parts, start_controllers
from tests.cluster.platform.gateway import start_gateway
from tests.cluster.platform.layout import Layout, Network, kept_logs
from tests.cluster.platform.monitoring import start_monitoring, wait_monitoring
from tests.cluster.platform.node import start_containerd, start_node
from tests.cluster.platform.object_store import start_object_store, wait_object_store
from tests.cluster.platform.ports import FIXED, free_ports
from tests.cluster.platform.processes import Failed, Processes, die_with_parent

IDLE_S = 3.0
"""Seconds without a client before a platform ends that nobody asked to keep."""


def main(folder: str, number: str, keep: str) -> None:
    """Start everything, then serve clients until told to end.

    Args:
        folder: State folder.
        number: Of the network; '' for a platform without a node.
        keep: 'keep' to run without clients too.
    """
    layout = Layout(Path(folder), Network(int(number)) if number else None)
    processes = Processes(layout.logs)
    listening = _listen(layout.folder / "socket")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    started, facts = time.monotonic(), {}
    try:
        facts = _start(layout, processes)
        facts |= {"seconds": round(time.monotonic() - started, 1), "pids": processes.pids()}
        _write(layout, facts)
        _serve(listening, processes, keep == "keep")
    except (Failed, RuntimeError, OSError, subprocess.CalledProcessError) as error:
        # The launcher's log is all that stays.
        print(f"{error} {getattr(error, 'stderr', None) or ''}", file=sys.stderr, flush=True)
    finally:
        processes.stop()


def _start(layout: Layout, processes: Processes) -> dict[str, object]:
    if layout.network:
        deadline = time.monotonic() + 10
        while subprocess.run(["ip", "link", "show", node.LINK], capture_output=True).returncode:
            if time.monotonic() > deadline:
                raise Failed("the link to the machine did not appear")
            time.sleep(0.05)
        node.isolate()
        node.configure_network(layout.network)
    times = dict[str, float]()
    facts: dict[str, object] = {"node": layout.network.node if layout.network else "", "prometheus": ""}
    with _timed(times, "control plane"):
        plane = start_control_plane(layout, FIXED if layout.network else free_ports(), processes)
    if layout.network:
        start_object_store(plane, layout.network)
        start_monitoring(plane, layout.network)
        start_containerd(plane, layout.network)
    with _timed(times, "custom resources"):
        apply_parts(plane)
    with _timed(times, "controllers"):
        start_controllers(plane)
    if layout.network:
        with _timed(times, "node"):
            start_node(plane, layout.network)
        with _timed(times, "gateway"):
            start_gateway(plane, layout.network)
        with _timed(times, "object store"):
            wait_object_store(plane, layout.network)
        with _timed(times, "monitoring"):
            facts["prometheus"] = wait_monitoring(plane, layout.network)
    return facts | {"kubeconfig": str(layout.kubeconfig()), "times": times, "ports": plane.ports}


@contextlib.contextmanager
def _timed(times: dict[str, float], name: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    times[name] = round(time.monotonic() - started, 1)


def _listen(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    listening.listen()
    listening.setblocking(False)
    return listening


def _serve(listening: socket.socket, processes: Processes, keep: bool) -> None:
    """Each open connection is a client; one may say 'keep', for the time without clients, or 'down'."""
    clients, idle_since = set[socket.socket](), time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(listening, selectors.EVENT_READ)
        while keep or clients or time.monotonic() - idle_since < IDLE_S:
            for key, _ in selector.select(0.5):
                if key.fileobj is listening:
                    client, _ = listening.accept()
                    client.sendall(b"ok")
                    clients.add(client)
                    selector.register(client, selectors.EVENT_READ)
                    continue
                client = key.fileobj
                assert isinstance(client, socket.socket)
                said = client.recv(100)
                if said == b"down":
                    return
                keep = keep or said == b"keep"
                if said in (b"", b"bye"):
                    selector.unregister(client)
                    clients.discard(client)
                    client.close()
                    idle_since = time.monotonic()
            _reap(set(processes.pids().values()))
            # A test may have paused or killed a program and start it again, so one that ended is no reason to end.


def _reap(own: set[int]) -> None:
    """Take the exit codes of orphans, such as containerd's shims: process 1 is their parent."""
    while os.getpid() == 1:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid in own:
            return
        os.waitpid(found.si_pid, 0)


def _write(layout: Layout, facts: dict[str, object]) -> None:
    partial = layout.folder / ".facts.json"
    partial.write_text(json.dumps(facts, indent=1))
    partial.rename(layout.folder / "facts.json")


def launch(folder: Path, network: Network | None, keep: bool) -> int:
    """Run the supervisor to its end, as root in namespaces of its own, and remove what is left."""
    arguments = [
        sys.executable,
        "-m",
        __name__,
        str(folder),
        str(network.number) if network else "",
        "keep" if keep else "",
    ]
    if network is None:
        code = subprocess.run(arguments).returncode
        _remove_files(folder)
        return code
    # --kill-child: the kernel ends process 1, and so the namespaces, when `unshare` ends for whatever reason.
    spaces = [
        "unshare",
        "--pid",
        "--mount-proc",
        "--mount",
        "--net",
        "--ipc",
        "--uts",
        "--fork",
        "--kill-child=SIGKILL",
    ]
    process = subprocess.Popen([*spaces, *arguments], preexec_fn=die_with_parent(os.getpid()))
    signal.signal(signal.SIGTERM, lambda *_: process.kill())
    _link(process, network)
    code = process.wait()
    _remove(folder, network)
    return code


def _link(process: subprocess.Popen[bytes], network: Network) -> None:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 10
    while not (inner := children.read_text().split()) and time.monotonic() < deadline:
        time.sleep(0.02)
    for command in (
        f"ip link add {network.link} type veth peer name {node.LINK} netns {inner[0]}",
        f"ip addr add {network.host}/30 dev {network.link}",
        f"ip link set {network.link} up",
        f"ip route add {network.all} via {network.node}",
    ):
        subprocess.run(command.split(), check=True)


def _remove(folder: Path, network: Network) -> None:
    """Remove control groups and files; interfaces and mounts went with their namespaces."""
    for _ in range(50):
        try:
            node.remove_cgroups(network)
            break
        except OSError:
            # The kernel is still ending processes of the namespace.
            time.sleep(0.1)
    _remove_files(folder)


def _remove_files(folder: Path) -> None:
    """Remove the state; the programs' logs are kept until the next platform of this name has ended."""
    kept = kept_logs(folder)
    shutil.rmtree(kept, ignore_errors=True)
    if (folder / "logs").is_dir():
        shutil.move(folder / "logs", kept)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
