"""Writes and reads bundles as OCI images in a folder (OCI Image Layout 1.0), for KServe's `oci://` storage.

One layer contains the bundle under /models, where KServe's modelcars expect it. Equal bundles give equal bytes and
digests; push it with any client, such as `skopeo copy oci:FOLDER docker://...`.
"""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from components.shared.errors import BundleError
from components.shared.release.bundle import Manifest, verify
from components.shared.storage import atomic_directory, read_json

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_MODELS = "models"
_COPY = "write it again from the registry: shoprank bundle oci"


def write_layout(bundle: Path, out: Path) -> str:
    """Write a bundle as an image.

    Args:
        bundle: A complete bundle.
        out: Folder of the layout.

    Returns:
        Digest of the image manifest, `sha256:...`.

    Raises:
        BundleError: the bundle is incomplete.
        InputError: the folder cannot be written.
    """
    manifest = verify(bundle, None)
    with atomic_directory(out) as folder:
        (folder / "blobs" / "sha256").mkdir(parents=True)
        layer, content = _layer(folder, bundle)
        config = _blob(folder, _CONFIG, _json({
            "created": manifest.created_at, "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [content]},
        }))  # fmt: skip
        image = _blob(folder, _MANIFEST, _json({
            "schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": [layer],
            "annotations": _annotations(manifest),
        }))  # fmt: skip
        tagged = {**image, "annotations": {"org.opencontainers.image.ref.name": manifest.version}}
        (folder / "index.json").write_bytes(_json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": [tagged]}))
        (folder / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    return image["digest"]


def read_layout(layout: Path, out: Path) -> Manifest:
    """Write the bundle of an image to `out` and verify it.

    Raises:
        BundleError: a blob is missing or changed, or the contained bundle is incomplete.
        InputError: index.json is missing or not JSON.
    """
    index = read_json(layout / "index.json")
    image = json.loads(_read(layout, index["manifests"][0]))
    layer = io.BytesIO(gzip.decompress(_read(layout, image["layers"][0])))
    with atomic_directory(out) as folder, tarfile.open(fileobj=layer) as archive:
        for entry in archive:
            name = Path(entry.name)
            if entry.isfile() and name.parts[0] == _MODELS and ".." not in name.parts:
                target = folder.joinpath(*name.parts[1:])
                target.parent.mkdir(parents=True, exist_ok=True)
                extracted = archive.extractfile(entry)
                assert extracted is not None
                target.write_bytes(extracted.read())
        return verify(folder, None)


def _annotations(manifest: Manifest) -> dict[str, str]:
    return {
        "org.opencontainers.image.title": manifest.name, "org.opencontainers.image.version": manifest.version,
        "org.opencontainers.image.created": manifest.created_at, "example.shoprank.content": manifest.content,
    }  # fmt: skip


def _layer(folder: Path, bundle: Path) -> tuple[dict[str, Any], str]:
    """Return (descriptor, digest of the uncompressed tar); times and owners are fixed for reproducibility."""
    temporary, plain = folder / "layer", hashlib.sha256()
    with temporary.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
        stream = _Hashing(packed, plain)
        with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for path in [bundle, *sorted(bundle.rglob("*"))]:
                entry = archive.gettarinfo(path, (Path(_MODELS) / path.relative_to(bundle)).as_posix())
                entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = 0, 0, 0, "", ""
                entry.mode = 0o755 if path.is_dir() else 0o644
                with path.open("rb") if path.is_file() else io.BytesIO() as content:
                    archive.addfile(entry, content)
    with temporary.open("rb") as raw:
        digest = hashlib.file_digest(raw, "sha256").hexdigest()
    size = temporary.stat().st_size
    temporary.rename(folder / "blobs" / "sha256" / digest)
    return {"mediaType": _LAYER, "digest": f"sha256:{digest}", "size": size}, f"sha256:{plain.hexdigest()}"


class _Hashing(io.RawIOBase):
    """A writable stream that hashes its data."""

    def __init__(self, stream: gzip.GzipFile, digest: Any):
        self._stream, self._digest = stream, digest

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._digest.update(data)
        return self._stream.write(data)


def _blob(folder: Path, media: str, content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    (folder / "blobs" / "sha256" / digest).write_bytes(content)
    return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(content)}


def _read(layout: Path, descriptor: dict[str, Any]) -> bytes:
    """Read a blob and check it against its descriptor."""
    kind, _, digest = descriptor["digest"].partition(":")
    path = layout / "blobs" / kind / digest
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} is missing or cannot be read: {error.strerror}", _COPY) from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise BundleError(f"{path} was changed: its SHA-256 does not match its name", _COPY)
    return content


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
