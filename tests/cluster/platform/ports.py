"""Ports of the platform's programs: fixed in a network of its own, free ones on a machine's loopback."""

import contextlib
import socket

Ports = dict[str, int]

FIXED: Ports = {
    "etcd": 2379, "etcd-peer": 2380, "apiserver": 6443, "controller-manager": 10257, "scheduler": 10259,
    "kubelet": 10250, "kubelet-health": 10248, "proxy-health": 10256, "proxy-metrics": 10249, "dns-health": 8053,
    "kserve": 9444, "kserve-health": 9544, "jobset": 9445, "jobset-health": 9545, "jobset-metrics": 9645,
    "trainer": 9446, "trainer-health": 9546, "trainer-metrics": 9646, "trainer-status": 9746,
    "s3": 8333, "s3-master": 9333, "s3-volume": 9334, "s3-filer": 8888, "prometheus": 9090,
}  # fmt: skip


def free_ports() -> Ports:
    """A free port for each program."""
    with contextlib.ExitStack() as held:
        ports: Ports = {}
        for name in FIXED:
            probe = held.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            ports[name] = probe.getsockname()[1]
        return ports
