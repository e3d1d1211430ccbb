"""A model registry of plain files: immutable versions, movable aliases and an audit log.

    <root>/<name>/versions/<version>/    bundles
    <root>/<name>/aliases.json           candidate, champion, previous, earlier (older champions, newest last)
    <root>/<name>/rollouts/<version>/    records of its rollouts, one folder each
    <root>/<name>/rollout.json           state of the current rollout
    <root>/<name>/audit.jsonl            one line per change, hash-chained (see audit)

Writers hold an advisory lock on <root>/<name>/.lock; aliases.json is replaced atomically, so readers need no lock.
"""

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.shared.errors import InputError, RegistryError
from components.shared.release.audit import AuditLog
from components.shared.release.bundle import check_name, read_manifest, verify
from components.shared.storage import atomic_directory, read_json, write_json

CANDIDATE, CHAMPION, PREVIOUS = "candidate", "champion", "previous"
ALIASES = (CANDIDATE, CHAMPION, PREVIOUS)
_EARLIER = "earlier"


class Registry:
    """Versions and aliases of any number of models.

    Args:
        root: Folder of the registry; created on the first write.
    """

    def __init__(self, root: Path):
        self.root = root

    def add(self, bundle: Path) -> str:
        """Copy a bundle into the registry under the version in its manifest; idempotent for equal content.

        Returns:
            The version.

        Raises:
            BundleError: the bundle is incomplete.
            RegistryError: the version exists with other content.
        """
        manifest = verify(bundle, None)
        with self._changing(manifest.name):
            target = self._version_folder(manifest.name, manifest.version)
            if target.exists():
                if read_manifest(target).content != manifest.content:
                    raise RegistryError(
                        f"{manifest.name}/{manifest.version} is registered with other content",
                        "versions are immutable; build the bundle again to get a new version",
                    )
                return manifest.version
            with atomic_directory(target) as folder:
                shutil.copytree(bundle, folder, dirs_exist_ok=True)
            self.audit(manifest.name).append("add", version=manifest.version)
        return manifest.version

    def resolve(self, reference: str) -> Path:
        """Return the folder of `name/version` or `name/alias`.

        Raises:
            RegistryError: it does not exist; the message lists existing versions and aliases.
        """
        name, _, which = reference.partition("/")
        version = self.aliases(name).get(which, which)
        if version not in self.versions(name):
            raise self._unknown(name, which)
        return self._version_folder(name, version)

    def versions(self, name: str) -> list[str]:
        """All versions of `name`, oldest data first."""
        folder = self._folder(name) / "versions"
        found = folder.iterdir() if folder.is_dir() else ()
        return sorted(path.name for path in found if not path.name.startswith("."))

    def aliases(self, name: str) -> dict[str, str]:
        """Version by alias; only aliases that were set."""
        return {alias: version for alias, version in self._state(name).items() if alias in ALIASES}

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Point `candidate` at a version. The champion is only set by `promote` and `rollback`.

        Raises:
            RegistryError: the version is unknown, or the alias is not `candidate`.
        """
        if alias != CANDIDATE:
            raise RegistryError(f"alias '{alias}' cannot be set", f"set '{CANDIDATE}', or use promote and rollback")
        with self._changing(name):
            self._known(name, version)
            state = self._state(name)
            if state.get(CANDIDATE) != version:
                self._write(name, {**state, CANDIDATE: version}, "candidate", version=version)

    def promote(self, name: str, version: str) -> None:
        """Make `version` the champion, keeping the previous one for rollback; idempotent.

        Raises:
            RegistryError: the version is unknown.
        """
        with self._changing(name):
            self._known(name, version)
            state = self._state(name)
            champion = state.get(CHAMPION)
            if champion == version:
                return
            earlier = [*state.get(_EARLIER, []), *([state[PREVIOUS]] if PREVIOUS in state else [])]
            changed = {**state, CHAMPION: version, _EARLIER: earlier, **({PREVIOUS: champion} if champion else {})}
            self._write(name, changed, "promote", version=version, replaced=champion)

    def rollback(self, name: str) -> str:
        """Make the previous champion the champion again; repeatable for older champions.

        Returns:
            Version of the new champion.

        Raises:
            RegistryError: there is no previous champion.
        """
        with self._changing(name):
            state = self._state(name)
            if PREVIOUS not in state:
                raise RegistryError(f"model '{name}' has no previous champion", "promote a version instead")
            failed, champion = state[CHAMPION], state.pop(PREVIOUS)
            earlier = list(state.get(_EARLIER, []))
            if earlier:
                state[PREVIOUS] = earlier.pop()
            self._write(name, {**state, CHAMPION: champion, _EARLIER: earlier}, "rollback", version=champion,
                        replaced=failed)  # fmt: skip
            return champion

    def audit(self, name: str) -> AuditLog:
        """The audit log of a model: registry changes, deployments and rollouts."""
        return AuditLog(self._folder(name) / "audit.jsonl")

    def attach(self, name: str, version: str, record: Path, rollout: str) -> Path:
        """Store the record of a rollout with its version.

        Args:
            name: Model name.
            version: A version of the registry.
            record: Folder to copy.
            rollout: Name of the stored record.

        Returns:
            Path of the stored record.

        Raises:
            RegistryError: the version is unknown.
        """
        self._known(name, version)
        target = self._folder(name) / "rollouts" / version / check_name(rollout, "rollout")
        with self._changing(name), atomic_directory(target) as folder:
            shutil.copytree(record, folder, dirs_exist_ok=True)
        return target

    def open_rollout(self, name: str) -> Path:
        """Path of the state of the current rollout, from which a retried step resumes."""
        return self._folder(name) / "rollout.json"

    def rollouts(self, name: str, version: str) -> list[Path]:
        """Records of a version's rollouts, oldest first."""
        folder = self._folder(name) / "rollouts" / check_name(version, "version")
        return sorted(path for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []

    def _folder(self, name: str) -> Path:
        return self.root / check_name(name, "model name")

    def _version_folder(self, name: str, version: str) -> Path:
        return self._folder(name) / "versions" / check_name(version, "version")

    def _state(self, name: str) -> dict[str, Any]:
        path = self._folder(name) / "aliases.json"
        return read_json(path) if path.exists() else {}

    def _known(self, name: str, version: str) -> None:
        if version not in self.versions(name):
            raise self._unknown(name, version)

    def _unknown(self, name: str, which: str) -> RegistryError:
        versions, aliases = self.versions(name), self.aliases(name)
        if not versions:
            return RegistryError(f"{self.root} has no model '{name}'", "register one first (register_model)")
        known = [*(f"{alias} ({version})" for alias, version in aliases.items()), *versions[-5:]]
        return RegistryError(f"model '{name}' has no version or alias '{which}'", f"it has: {', '.join(known)}")

    @contextlib.contextmanager
    def _changing(self, name: str) -> Iterator[None]:
        """Hold the model's lock, which the kernel releases if the process dies."""
        folder = self._folder(name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stream = (folder / ".lock").open("a")
        except OSError as error:
            raise InputError(
                f"cannot write the registry {folder}: {error.strerror}", "choose a writable folder"
            ) from error
        with stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def _write(self, name: str, state: dict[str, Any], action: str, **facts: Any) -> None:
        write_json(self._folder(name) / "aliases.json", state)
        self.audit(name).append(action, **facts)
