"""The bundle: a folder with a signed manifest of the SHA-256 and size of every file.

The only thing passed from training to serving; readers call `verify` before using a bundle.
"""

import dataclasses
import datetime
import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from components.shared.errors import BundleError, InputError
from components.shared.release.signing import check_signature, signature_text
from components.shared.storage import write_json, write_text

FORMAT_VERSION = 1
MANIFEST, SIGNATURE = "bundle.json", "bundle.sig"
_COPY = "copy the bundle from the registry again, or register it again"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Manifest:
    """Contents of bundle.json.

    Attributes:
        name: Model name. version: content-derived, see `version_of`. created_at: ISO 8601, UTC.
        schema_hash: of the events, items and users schemas.
        tasks: what the ranker predicts, in the order of its outputs.
        metrics: evaluation metrics by flat name.
        lineage: where the bundle comes from (run, data, code), free text by name.
        files: relative POSIX path -> {"sha256", "size"} of every other file.
        format_version: incremented on incompatible changes.
    """

    name: str
    version: str
    created_at: str
    schema_hash: str
    tasks: tuple[str, ...]
    metrics: dict[str, float]
    lineage: dict[str, str]
    files: dict[str, dict[str, Any]]
    format_version: int = FORMAT_VERSION

    @property
    def content(self) -> str:
        """SHA-256 over the paths, hashes and sizes of all files; identifies the content."""
        lines = (f"{path} {entry['sha256']} {entry['size']}\n" for path, entry in sorted(self.files.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def size(self) -> int:
        """Total size in bytes."""
        return sum(entry["size"] for entry in self.files.values())


@dataclass(frozen=True, kw_only=True)
class BundleFacts:
    """Metadata of the manifest."""

    name: str
    """Model name: lower-case letters, digits, dot, dash, underscore."""
    as_of: int
    """End of the data, epoch seconds; its date is the first part of the version."""
    schema_hash: str
    """Hash of the events, items and users schemas."""
    tasks: tuple[str, ...] = ()
    """Names of the ranker's tasks."""
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    """Evaluation metrics by flat name."""
    lineage: dict[str, str] = dataclasses.field(default_factory=dict)
    """Run, data and code that made the bundle."""


def check_name(name: str, what: str) -> str:
    """Return `name` if it is safe as a folder name.

    Raises:
        InputError: names `what` and the allowed characters.
    """
    if not is_name(name):
        raise InputError(
            f"{what} is '{name}'", "use 1 to 63 of a-z, 0-9, dot, dash and underscore, a letter or digit first"
        )
    return name


def is_name(text: str) -> bool:
    """Whether `check_name` accepts it."""
    return bool(_NAME.fullmatch(text))


def write_manifest(folder: Path, facts: BundleFacts) -> Manifest:
    """Hash every file of `folder` and write bundle.json; the version follows from the content and the data's date.

    Raises:
        BundleError: the folder is empty or contains a link.
        InputError: the name is not safe as a folder name.
    """
    check_name(facts.name, "model name")
    (folder / SIGNATURE).unlink(missing_ok=True)
    files = {path: _entry(folder / path) for path in sorted(_walk(folder) - {MANIFEST})}
    if not files:
        raise BundleError(f"{folder} has no files", "run compile_model first")
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    unnamed = Manifest(facts.name, "", now, facts.schema_hash, tuple(facts.tasks), facts.metrics, facts.lineage, files)
    manifest = dataclasses.replace(unnamed, version=version_of(unnamed.content, facts.as_of))
    write_json(folder / MANIFEST, dataclasses.asdict(manifest))
    return manifest


def version_of(content: str, as_of: int) -> str:
    """`YYYYMMDD-` of the end of the data and 12 hex digits of the content hash; equal content has an equal version."""
    return f"{datetime.datetime.fromtimestamp(as_of, datetime.UTC):%Y%m%d}-{content[:12]}"


def sign(folder: Path, key: Ed25519PrivateKey) -> None:
    """Write bundle.sig over the exact bytes of bundle.json."""
    write_text(folder / SIGNATURE, signature_text((folder / MANIFEST).read_bytes(), key))


def verify(folder: Path, key: Ed25519PublicKey | None) -> Manifest:
    """Verify format, signature and all files of a bundle.

    Args:
        folder: The bundle.
        key: Public key of the signer. None verifies only the files against the manifest, which detects corruption
            but not manipulation.

    Raises:
        BundleError: names the first file that is missing, unexpected, changed, truncated or a link, or the signature.
    """
    manifest_bytes = _read(folder / MANIFEST)
    signature = _read(folder / SIGNATURE)
    if key is not None:
        check_signature(manifest_bytes, signature, key, folder / SIGNATURE)
    manifest = parse_manifest(manifest_bytes, folder / MANIFEST)
    found = _walk(folder) - {MANIFEST, SIGNATURE}
    for path in sorted(manifest.files.keys() - found):
        raise BundleError(f"{folder / path} is missing", _COPY)
    for path in sorted(found - manifest.files.keys()):
        raise BundleError(f"{folder / path} is not in the manifest", f"remove it, or {_COPY}")
    for path, entry in sorted(manifest.files.items()):
        size = (folder / path).stat().st_size
        if size != entry["size"]:
            raise BundleError(f"{folder / path} has {size} bytes, not {entry['size']}", _COPY)
        if _entry(folder / path)["sha256"] != entry["sha256"]:
            raise BundleError(f"{folder / path} was changed: its SHA-256 is not the manifest's", _COPY)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest without verifying files, for listings.

    Raises:
        BundleError: bundle.json is missing, broken or of another format.
    """
    return parse_manifest(_read(folder / MANIFEST), folder / MANIFEST)


def _read(path: Path) -> bytes:
    if path.is_symlink():
        raise BundleError(f"{path} is a link", "a bundle may only contain regular files; copy it with links resolved")
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} is missing or cannot be read: {error.strerror}", _COPY) from error


def _entry(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            return {"sha256": hashlib.file_digest(stream, "sha256").hexdigest(), "size": path.stat().st_size}
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}", _COPY) from error


def _walk(folder: Path) -> set[str]:
    """Relative POSIX paths of all files; links and special files are rejected."""
    found = set()
    for root, folders, files in os.walk(folder, followlinks=False):
        for name in [*folders, *files]:
            path = Path(root) / name
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise BundleError(
                    f"{path} is a link or a special file",
                    "a bundle may only contain regular files; copy it with links resolved",
                )
        found.update((Path(root) / name).relative_to(folder).as_posix() for name in files)
    return found


def parse_manifest(raw: bytes, where: Path | str) -> Manifest:
    """Read the manifest from the bytes of bundle.json, of which `where` is the path or URI.

    Raises:
        BundleError: it is broken or of another format.
    """
    try:
        value = json.loads(raw)
        version = value["format_version"]
        if version != FORMAT_VERSION:
            raise BundleError(
                f"{where}: bundle format {version}; this shoprank version reads {FORMAT_VERSION}",
                "register the model again with this shoprank version, or use the version that wrote it",
            )
        manifest = Manifest(**{**value, "tasks": tuple(value["tasks"])})
        for path, entry in manifest.files.items():
            _check_entry(path, entry, where)
        check_name(manifest.name, "model name")
        check_name(manifest.version, "version")
    except (ValueError, KeyError, TypeError, AttributeError, InputError) as error:
        raise BundleError(f"{where} is not a bundle manifest: {error}", _COPY) from error
    return manifest


def _check_entry(path: str, entry: dict[str, Any], where: Path | str) -> None:
    parts = PurePosixPath(path)
    unsafe = parts.is_absolute() or ".." in parts.parts or "\\" in path or "\0" in path or parts.as_posix() != path
    if unsafe or path in {"", ".", MANIFEST, SIGNATURE}:
        raise BundleError(f"{where} names the path '{path}', which is not allowed in a bundle", _COPY)
    if set(entry) != {"sha256", "size"} or not _SHA256.fullmatch(entry["sha256"]) or type(entry["size"]) is not int:
        raise BundleError(f"{where} has an invalid entry for '{path}'", _COPY)
