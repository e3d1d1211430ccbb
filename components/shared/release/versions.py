"""Where a registry keeps its bundles and records: the protocol, and the implementation for a folder.

The layout is the same in an object store (s3_versions): NAME/versions/VERSION/ and NAME/rollouts/VERSION/RECORD/.
"""

import shutil
from pathlib import Path
from typing import Protocol

from components.shared.errors import RegistryError
from components.shared.release.bundle import Manifest, check_name, read_manifest
from components.shared.release.documents import Documents, FolderDocuments, locked
from components.shared.storage import atomic_directory, make_folder, make_readable


class Versions(Protocol):
    """Bundles and records of a registry, each written once."""

    @property
    def documents(self) -> Documents:
        """The registry's small files."""
        ...

    @property
    def root(self) -> Path | str:
        """Folder or URI of the registry."""
        ...

    def names(self, model: str) -> list[str]:
        """Complete versions of a model, sorted."""
        ...

    def has(self, model: str, version: str) -> bool:
        """Whether a version is complete."""
        ...

    def manifest(self, model: str, version: str) -> Manifest:
        """The manifest of a complete version."""
        ...

    def add(self, bundle: Path, manifest: Manifest) -> None:
        """Write a version; nothing changes if it is there with equal content.

        Raises:
            RegistryError: it is there with other content.
        """
        ...

    def bundle(self, model: str, version: str) -> Path:
        """A local folder with a complete version; not to be changed."""
        ...

    def uri(self, model: str, version: str) -> str:
        """Path or URI of a version, for KServe's storage initializer."""
        ...

    def remove(self, model: str, version: str) -> None:
        """Remove a version; a version half removed is no version."""
        ...

    def attach(self, folder: Path, model: str, version: str, record: str) -> Path | str:
        """Store a folder as a record of a version, and return where it is."""
        ...

    def records(self, model: str, version: str) -> list[Path]:
        """Local folders with the records of a version, sorted by name."""
        ...


class FolderVersions:
    """Versions in a folder, such as a volume that all runs mount.

    Args:
        root: Folder of the registry; created by the first write.
    """

    def __init__(self, root: Path):
        self.root = root
        self.documents = FolderDocuments(root)

    def names(self, model: str) -> list[str]:
        """See Versions."""
        folder = self._model(model) / "versions"
        found = folder.iterdir() if folder.is_dir() else ()
        return sorted(path.name for path in found if not path.name.startswith("."))

    def has(self, model: str, version: str) -> bool:
        """See Versions."""
        return self._version(model, version).is_dir()

    def manifest(self, model: str, version: str) -> Manifest:
        """See Versions."""
        return read_manifest(self._version(model, version))

    def add(self, bundle: Path, manifest: Manifest) -> None:
        """See Versions."""
        target = self._version(manifest.name, manifest.version)
        with locked(self._model(manifest.name)):
            if target.exists():
                return check_same(read_manifest(target), manifest)
            make_folder(target.parent)
            with atomic_directory(target) as folder:
                shutil.copytree(bundle, folder, dirs_exist_ok=True)
                make_readable(folder)

    def bundle(self, model: str, version: str) -> Path:
        """See Versions."""
        return self._version(model, version)

    def uri(self, model: str, version: str) -> str:
        """See Versions."""
        return str(self._version(model, version))

    def remove(self, model: str, version: str) -> None:
        """See Versions."""
        target = self._version(model, version)
        removed = target.with_name(f".{version}.removed")
        with locked(self._model(model)):
            if target.exists():
                shutil.rmtree(removed, ignore_errors=True)
                target.rename(removed)
            shutil.rmtree(removed, ignore_errors=True)

    def attach(self, folder: Path, model: str, version: str, record: str) -> Path:
        """See Versions."""
        target = self._records(model, version) / check_name(record, "rollout")
        with locked(self._model(model)):
            make_folder(target.parent)
            with atomic_directory(target) as written:
                shutil.copytree(folder, written, dirs_exist_ok=True)
                make_readable(written)
        return target

    def records(self, model: str, version: str) -> list[Path]:
        """See Versions."""
        folder = self._records(model, version)
        return sorted(path for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []

    def _model(self, model: str) -> Path:
        return self.root / check_name(model, "model name")

    def _version(self, model: str, version: str) -> Path:
        return self._model(model) / "versions" / check_name(version, "version")

    def _records(self, model: str, version: str) -> Path:
        return self._model(model) / "rollouts" / check_name(version, "version")


def check_same(present: Manifest, wanted: Manifest) -> None:
    """Check that a registered version has the content of the one to register.

    Raises:
        RegistryError: it has not.
    """
    if present.content != wanted.content:
        raise other_content(wanted)


def other_content(wanted: Manifest) -> RegistryError:
    """The error of a version that is registered with other content."""
    return RegistryError(
        f"{wanted.name}/{wanted.version} is registered with other content",
        "versions are immutable; build the bundle again to get a new version",
    )
