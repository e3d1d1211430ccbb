"""SeaweedFS with a /tmp of its own: it keeps sockets there under names of its ports, which a second server replaces."""

import os
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.platform.processes import Processes
from tests.cluster.platform.programs import binary

# The program is opened before /tmp is replaced, in case it lies below it.
_IN_OWN_TMP = 'exec 3<"$1" && mount --bind "$0" /tmp && shift && exec /proc/self/fd/3 "$@"'


def start_seaweedfs(processes: Processes, folder: Path, address: str, ports: Mapping[str, int]) -> None:
    """Start master, volume server, filer and S3 gateway in one process, called `seaweedfs`.

    Args:
        processes: To start it in.
        folder: Of its data; it has identities.json, with the users of S3.
        address: To listen on.
        ports: Option without its dash, such as `s3.port` -> port.
    """
    own = os.geteuid() == 0
    seen = Path("/tmp") if own else folder
    (folder / "data").mkdir(parents=True, exist_ok=True)
    command = [
        binary("seaweedfs"), "server", f"-ip={address}", f"-ip.bind={address}", f"-dir={seen / 'data'}", "-s3",
        f"-s3.config={seen / 'identities.json'}", "-master.volumeSizeLimitMB=64",
        # A number of volumes: the one that it finds itself was too small at times.
        "-volume.max=300", "-s3.port.iceberg=0", "-s3.port.lance=0",
        *(f"-{name}={port}" for name, port in ports.items()),
    ]  # fmt: skip
    wrapper = ["unshare", "--mount", "sh", "-c", _IN_OWN_TMP, str(folder)] if own else []
    processes.start("seaweedfs", [*wrapper, *command])
