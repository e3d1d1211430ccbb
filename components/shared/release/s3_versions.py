"""The bundles of a registry in an object store.

A version is written once: its files, then a claim, then bundle.json, each only if there is none. The claim is
bundle.sig, which names the manifest that it signs; that manifest already lies under NAME/pending/VERSION/.
Whoever registers the same content completes what a killed process has claimed, so manifest and signature always belong
together.
"""

import hashlib
import os
import shutil
from pathlib import Path

from components.shared.errors import BundleError, RegistryError
from components.shared.release.bundle import MANIFEST, SIGNATURE, Manifest, check_name, parse_manifest, verify
from components.shared.release.documents import Changed, Stored, locked, replace
from components.shared.release.object_store import ObjectStore
from components.shared.release.versions import check_same, other_content
from components.shared.storage import atomic_directory, make_folder, make_readable

_SHA256 = "sha256"


class S3Versions:
    """Versions below an s3:// URI; complete versions are read through a cache on this machine.

    Args:
        uri: s3://bucket/prefix.
    """

    def __init__(self, uri: str):
        self.documents = ObjectStore(uri)
        self.root = self.documents.uri

    def names(self, model: str) -> list[str]:
        """See Versions."""
        folder = f"{check_name(model, 'model name')}/versions/"
        keys = (key.removeprefix(folder).split("/") for key in self.documents.sizes(folder))
        return sorted(parts[0] for parts in keys if parts[1:] == [MANIFEST])

    def has(self, model: str, version: str) -> bool:
        """See Versions."""
        return self.documents.read(f"{_folder(model, version)}/{MANIFEST}") is not None

    def manifest(self, model: str, version: str) -> Manifest:
        """See Versions."""
        return _parsed(self._manifest(model, version), f"{self.uri(model, version)}/{MANIFEST}")

    def add(self, bundle: Path, manifest: Manifest) -> None:
        """See Versions; the check of equal content covers every file."""
        folder = _folder(manifest.name, manifest.version)
        present = self.documents.read(f"{folder}/{MANIFEST}")
        if present:
            check_same(_parsed(present, self.documents.location(f"{folder}/{MANIFEST}")), manifest)
        found = self.documents.sizes(f"{folder}/")
        for path, entry in manifest.files.items():
            if found.get(f"{folder}/{path}") != entry["size"]:
                self._put_file(bundle / path, f"{folder}/{path}", entry[_SHA256], manifest)
        if not present:
            self._claim(bundle, folder, manifest)
        for key in self.documents.sizes(f"{_pending(manifest)}/"):
            self.documents.remove(key)

    def bundle(self, model: str, version: str) -> Path:
        """See Versions.

        Raises:
            BundleError: a file in the store is missing or was changed.
            RegistryError: the version does not exist, or the store does not answer.
        """
        cached = self._cache() / check_name(model, "model name") / "versions" / check_name(version, "version")
        manifest = self._manifest(model, version)
        signature = self.documents.read(f"{_folder(model, version)}/{SIGNATURE}")
        with locked(cached.parent):
            if not _is_cached(cached, manifest, signature):
                for left in cached.parent.glob(f".{version}.partial-*"):
                    shutil.rmtree(left, ignore_errors=True)
                self._download(cached, _folder(model, version), manifest)
        return cached

    def uri(self, model: str, version: str) -> str:
        """See Versions."""
        return self.documents.location(_folder(model, version))

    def remove(self, model: str, version: str) -> None:
        """See Versions."""
        folder = _folder(model, version)
        self.documents.remove(f"{folder}/{MANIFEST}")
        for key in (*self.documents.sizes(f"{folder}/"), *self.documents.sizes(f"{model}/pending/{version}/")):
            self.documents.remove(key)

    def attach(self, folder: Path, model: str, version: str, record: str) -> str:
        """See Versions."""
        target = f"{model}/rollouts/{check_name(version, 'version')}/{check_name(record, 'rollout')}"
        for path in sorted(one for one in folder.rglob("*") if one.is_file()):
            replace(self.documents, f"{target}/{path.relative_to(folder).as_posix()}", path.read_bytes())
        return self.documents.location(target)

    def records(self, model: str, version: str) -> list[Path]:
        """See Versions."""
        prefix = f"{check_name(model, 'model name')}/rollouts/{check_name(version, 'version')}/"
        found = set[Path]()
        for key in self.documents.sizes(prefix):
            self.documents.download(key, self._cache() / key)
            found.add(self._cache() / prefix / key.removeprefix(prefix).split("/")[0])
        return sorted(found)

    def _manifest(self, model: str, version: str) -> Stored:
        found = self.documents.read(f"{_folder(model, version)}/{MANIFEST}")
        if found is None:
            raise RegistryError(f"{self.uri(model, version)} does not exist", "register it again (register_model)")
        return found

    def _put_file(self, source: Path, key: str, sha256: str, manifest: Manifest) -> None:
        try:
            self.documents.put(key, source, {_SHA256: sha256})
        except Changed:
            # Put by another process, or by this very call before its connection broke.
            facts = self.documents.facts(key) if source.stat().st_size else {_SHA256: sha256}
            if (facts or {}).get(_SHA256) != sha256:
                raise other_content(manifest) from None

    def _claim(self, bundle: Path, folder: str, manifest: Manifest) -> None:
        """Write signature and manifest, or complete what another process has claimed."""
        own, signature = (bundle / MANIFEST).read_bytes(), (bundle / SIGNATURE).read_bytes()
        name = hashlib.sha256(own).hexdigest()
        replace(self.documents, f"{_pending(manifest)}/{name}.json", own)
        try:
            self.documents.put(f"{folder}/{SIGNATURE}", signature, {"manifest": name})
        except Changed:
            name = (self.documents.facts(f"{folder}/{SIGNATURE}") or {}).get("manifest", "")
        claimed = self.documents.read(f"{_pending(manifest)}/{name}.json")
        if claimed is None:
            # It is removed only when the version is complete.
            return check_same(self.manifest(manifest.name, manifest.version), manifest)
        check_same(_parsed(claimed, self.documents.location(f"{_pending(manifest)}/{name}.json")), manifest)
        try:
            self.documents.put(f"{folder}/{MANIFEST}", claimed.content)
        except Changed:
            check_same(self.manifest(manifest.name, manifest.version), manifest)

    def _download(self, target: Path, folder: str, manifest: Stored) -> None:
        where = self.documents.location(folder)
        with atomic_directory(target) as written:
            (written / MANIFEST).write_bytes(manifest.content)
            for path in (SIGNATURE, *_parsed(manifest, f"{where}/{MANIFEST}").files):
                try:
                    self.documents.download(f"{folder}/{path}", written / path)
                except Changed:
                    raise BundleError(f"{where}/{path} is missing", "register the bundle again") from None
            make_readable(written)
            verify(written, None)

    def _cache(self) -> Path:
        """Folder of what was read from this registry: below XDG_CACHE_HOME, or ~/.cache."""
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        folder = Path(base) / "shoprank" / "registry" / hashlib.sha256(self.root.encode()).hexdigest()[:12]
        make_folder(folder)
        return folder


def _is_cached(folder: Path, manifest: Stored, signature: Stored | None) -> bool:
    """Whether the folder holds exactly the version of the store; every file is hashed again."""
    names = ((MANIFEST, manifest), (SIGNATURE, signature))
    if not all((folder / name).is_file() for name, _ in names):
        return False
    if any(stored is None or (folder / name).read_bytes() != stored.content for name, stored in names):
        return False
    try:
        verify(folder, None)
    except BundleError:
        return False
    return True


def _parsed(manifest: Stored, where: str) -> Manifest:
    return parse_manifest(manifest.content, where)


def _folder(model: str, version: str) -> str:
    return f"{check_name(model, 'model name')}/versions/{check_name(version, 'version')}"


def _pending(manifest: Manifest) -> str:
    return f"{manifest.name}/pending/{manifest.version}"
