"""SeaweedFS, the S3 server that Kubeflow Pipelines ships, behind the Service of the same name as there."""

import json

from tests.cluster.platform.control_plane import ControlPlane
from tests.cluster.platform.layout import Network
from tests.cluster.platform.processes import answers
from tests.cluster.platform.seaweedfs import start_seaweedfs

ACCESS_KEY, SECRET_KEY = "minio", "minio123"
"""Those of Kubeflow Pipelines' own store, which are in its manifests."""

NAMESPACE = "kubeflow"


def start_object_store(plane: ControlPlane, network: Network) -> None:
    """Start the server; it takes some seconds, which `wait_object_store` waits for."""
    folder = plane.layout.folder / "s3"
    folder.mkdir()
    identity = {
        "name": "pipelines",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin"],
    }
    (folder / "identities.json").write_text(json.dumps({"identities": [identity]}))
    ports = plane.ports
    named_ports = {"s3.port": ports["s3"], "master.port": ports["s3-master"], "volume.port": ports["s3-volume"],
                   "filer.port": ports["s3-filer"]}  # fmt: skip
    start_seaweedfs(plane.processes, folder, network.node, named_ports)
    slice_ports = [{"name": "s3", "port": ports["s3"], "protocol": "TCP"}]
    named = {"name": "seaweedfs", "namespace": NAMESPACE}
    plane.apply([
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "Service", "metadata": named,
         "spec": {"ports": [{"name": "s3", "port": 9000, "targetPort": ports["s3"]}]}},
        {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
         "metadata": {**named, "labels": {"kubernetes.io/service-name": "seaweedfs"}},
         "endpoints": [{"addresses": [network.node]}], "ports": slice_ports},
    ])  # fmt: skip


def wait_object_store(plane: ControlPlane, network: Network) -> None:
    """Wait until it answers."""
    plane.processes.wait("seaweedfs", lambda: answers(f"http://{network.node}:{plane.ports['s3']}/healthz"))
