"""Ends all connections of the node's programs to the API server, and so all their watches, from outside."""

import subprocess
from pathlib import Path

import pytest

from tests.cluster.platform.client import Platform


def cut_connections(platform: Platform) -> int:
    """End the connections of KServe, Envoy Gateway, kubelet and all others on the node; return how many.

    Skips the test by name where the kernel ends no connections (CONFIG_INET_DIAG_DESTROY).
    """
    before = _connections(platform)
    _ss(platform, "-K")
    if before & _connections(platform):
        pytest.skip("this kernel ends no connections from outside (ss -K)")
    return len(before)


def _connections(platform: Platform) -> set[str]:
    """Local addresses of the connections; pods and this machine have network namespaces of their own."""
    return {line.split()[2] for line in _ss(platform).splitlines()}


def _ss(platform: Platform, *words: str) -> str:
    inside = ["nsenter", "--target", str(_inside(platform)), "--net"]
    query = ["ss", "-tnH", *words, "state", "established", f"dport = :{platform.facts['ports']['apiserver']}"]
    return subprocess.run([*inside, *query], capture_output=True, text=True, check=True).stdout


def _inside(platform: Platform) -> int:
    """A process of the node, by the number that it has on this machine."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"kube-apiserver" in command and any(str(platform.folder).encode() in word for word in command):
            return int(process.name)
    raise AssertionError("the API server does not run")
