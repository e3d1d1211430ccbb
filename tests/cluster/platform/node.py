"""A node with pods, in network, mount and process namespaces of its own: containerd, kubelet, kube-proxy, CoreDNS."""

import json
import os
import subprocess
from pathlib import Path

from tests.cluster.platform.control_plane import ControlPlane
from tests.cluster.platform.images import PAUSE, mounts, write_images
from tests.cluster.platform.layout import Network
from tests.cluster.platform.programs import binary

NODE = "node"
LINK = "node0"
"""The node's end of the link to the machine."""

PROGRAMS = ("containerd", "ctr", "runc", "iptables", "conntrack", "ip", "unshare")
"""What a node needs beside the built programs (Debian: containerd runc iptables conntrack iproute2 util-linux)."""

PLUGINS = Path("/usr/lib/cni")
"""Debian: containernetworking-plugins."""


def cgroup(network: Network) -> str:
    """Control group of all pods."""
    return f"/shoprank-platform-{network.number}"


def isolate() -> None:
    """Hide this machine's state folders behind empty ones, in the mount namespace of the calling process."""
    for folder in ("/run", "/var/lib", "/var/log"):
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)


def configure_network(network: Network) -> None:
    """Give the node its addresses, and let it route between machine and pods."""
    for command in (
        "ip link set lo up",
        f"ip addr add {network.node}/30 dev {LINK}",
        f"ip link set {LINK} up",
        f"ip route add default via {network.host}",
    ):
        subprocess.run(command.split(), check=True)
    for name, value in (("ip_forward", "1"), ("conf/all/route_localnet", "1")):
        Path("/proc/sys/net/ipv4", name).write_text(value)


def start_node(plane: ControlPlane, network: Network) -> None:
    """Start kubelet, kube-proxy and CoreDNS, and wait until the node is ready."""
    _kubelet(plane, network)
    _proxy(plane, network)
    _dns(plane, network)
    plane.processes.wait("kubelet", lambda: _is_ready(plane), 90)


def _is_ready(plane: ControlPlane) -> bool:
    try:
        conditions = json.loads(plane.kubectl("get", "node", NODE, "-o", "json"))["status"]["conditions"]
    except subprocess.CalledProcessError:
        return False
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def start_containerd(plane: ControlPlane, network: Network) -> None:
    """Start containerd and give it the images."""
    folder = plane.layout.folder / "containerd"
    folder.mkdir()
    socket = f"{folder}/containerd.sock"
    (folder / "cni").mkdir()
    (folder / "cni" / "10-bridge.conflist").write_text(json.dumps({
        "cniVersion": "0.4.0", "name": "pods", "plugins": [
            {"type": "bridge", "bridge": "pods0", "isGateway": True, "hairpinMode": True, "ipMasq": False,
             "ipam": {"type": "host-local", "dataDir": str(folder / "addresses"),
                      "ranges": [[{"subnet": network.pods}]], "routes": [{"dst": "0.0.0.0/0"}]}},
            {"type": "portmap", "capabilities": {"portMappings": True}}],
    }))  # fmt: skip
    specification = json.loads(subprocess.run(["ctr", "oci", "spec"], capture_output=True, check=True).stdout)
    specification["mounts"] += mounts()
    (folder / "spec.json").write_text(json.dumps(specification))
    (folder / "config.toml").write_text(f'''
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{PLUGINS}"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    base_runtime_spec = "{folder}/spec.json"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
''')
    plane.processes.start("containerd", ["containerd", "--config", folder / "config.toml"])
    control = ["ctr", "--address", socket, "--namespace", "k8s.io"]
    plane.processes.wait(
        "containerd", lambda: subprocess.run([*control, "version"], capture_output=True).returncode == 0
    )
    archive = write_images(folder / "images.tar")
    subprocess.run([*control, "image", "import", archive], check=True, capture_output=True)


def _kubelet(plane: ControlPlane, network: Network) -> None:
    folder = plane.layout.folder / "kubelet"
    folder.mkdir()
    (folder / "resolv.conf").touch()
    own = plane.authority.certificate("kubelet", f"system:node:{NODE}", ("system:nodes",), (NODE, network.node))
    config = {
        "kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "address": network.node, "port": plane.ports["kubelet"], "healthzPort": plane.ports["kubelet-health"],
        "tlsCertFile": str(own), "tlsPrivateKeyFile": str(own.with_suffix(".key")),
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True},
                           "x509": {"clientCAFile": str(plane.authority.ca)}},
        "authorization": {"mode": "Webhook"}, "failCgroupV1": False, "cgroupDriver": "cgroupfs", "cgroupsPerQOS": False,
        "cgroupRoot": cgroup(network), "enforceNodeAllocatable": [], "failSwapOn": False,
        "resolvConf": str(folder / "resolv.conf"), "clusterDNS": [network.dns], "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{plane.layout.folder}/containerd/containerd.sock",
        "volumePluginDir": str(folder / "plugins"), "podLogsDir": str(folder / "pod-logs"),
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "syncFrequency": "10s", "nodeStatusUpdateFrequency": "5s", "maxPods": 100, "registryPullQPS": 0,
        # Changes of Secrets and ConfigMaps arrive by watch; pods of tests start at once.
        "podsPerCore": 0, "serializeImagePulls": False, "kubeAPIQPS": 100, "kubeAPIBurst": 200, "eventRecordQPS": 0,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    credentials = {"client-certificate": str(own), "client-key": str(own.with_suffix(".key"))}
    user = plane.authority.kubeconfig(plane.layout.kubeconfig("kubelet"), plane.server, credentials)
    plane.processes.start("kubelet", [
        binary("kubernetes"), "kubelet", f"--config={folder / 'config.json'}", f"--kubeconfig={user}",
        f"--root-dir={folder / 'root'}", f"--hostname-override={NODE}", f"--node-ip={network.node}",
    ])  # fmt: skip


def _proxy(plane: ControlPlane, network: Network) -> None:
    user = plane.user("system:kube-proxy")
    plane.processes.start("kube-proxy", [
        binary("kubernetes"), "kube-proxy", f"--kubeconfig={user}", "--proxy-mode=iptables",
        f"--hostname-override={NODE}",
        # The bridge's own traffic does not pass iptables on every kernel, so answers must come back by the node.
        "--masquerade-all", "--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0",
        "--conntrack-tcp-timeout-close-wait=0", f"--healthz-bind-address=127.0.0.1:{plane.ports['proxy-health']}",
        f"--metrics-bind-address=127.0.0.1:{plane.ports['proxy-metrics']}", 
        "--iptables-sync-period=5s", "--iptables-min-sync-period=0s",
    ])  # fmt: skip


def _dns(plane: ControlPlane, network: Network) -> None:
    """CoreDNS beside the kubelet, behind a Service whose endpoint is the node."""
    plane.apply([
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "kube-dns", "namespace": "kube-system"},
         "spec": {"clusterIP": network.dns, "ports": [
             {"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]}},
        {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
         "metadata": {"name": "kube-dns", "namespace": "kube-system",
                      "labels": {"kubernetes.io/service-name": "kube-dns"}},
         "endpoints": [{"addresses": [network.node]}],
         "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]},
    ])  # fmt: skip
    folder = plane.layout.folder / "dns"
    folder.mkdir()
    # The administrator's credentials: CoreDNS only reads, and its role is none of what is tested.
    (folder / "Corefile").write_text(f"""
.:53 {{
    bind {network.node}
    errors
    kubernetes cluster.local {{
        kubeconfig {plane.layout.kubeconfig()} platform
        pods insecure
    }}
    cache 2
}}
""")
    plane.processes.start("coredns", [binary("coredns"), "-conf", folder / "Corefile"])


def remove_cgroups(network: Network) -> None:
    """Remove the control groups that pods left; they are empty after the end of the node."""
    name = cgroup(network).lstrip("/")
    # One tree for each controller with cgroup v1, one for all with v2.
    for root in (Path("/sys/fs/cgroup", name), *Path("/sys/fs/cgroup").glob(f"*/{name}")):
        for folder, _, _ in os.walk(root, topdown=False):
            Path(folder).rmdir()
