"""A model registry of plain files, in a folder or an object store: immutable versions, movable aliases, an audit log.

    <root>/<name>/versions/<version>/    bundles
    <root>/<name>/aliases.json           candidate, champion, previous, earlier (older champions, newest last), change
    <root>/<name>/rollouts/<version>/    records of its rollouts, one folder each
    <root>/<name>/rollout.json           state of the current rollout
    <root>/<name>/audit.jsonl            one line per change, hash-chained (see audit)

Every shared file is replaced by compare-and-swap: under an advisory lock in a folder, by conditional puts in an object
store (versions, s3_versions, aliases).
"""

import json
from pathlib import Path
from typing import Any

from components.shared.errors import InputError, RegistryError
from components.shared.release.aliases import (
    ALIASES,
    CANDIDATE,
    CHAMPION,
    EARLIER,
    PREVIOUS,
    REMOVING,
    AliasFile,
    Decision,
    State,
)
from components.shared.release.audit import AuditLog, noted
from components.shared.release.bundle import check_name, is_name, verify
from components.shared.release.documents import replace
from components.shared.release.versions import FolderVersions, Versions

__all__ = ["ALIASES", "CANDIDATE", "CHAMPION", "PREVIOUS", "Registry", "Root", "is_object_store"]

Root = Path | str
"""Folder of a registry, or its s3:// URI."""


class Registry:
    """Versions and aliases of any number of models.

    Args:
        root: Folder of the registry, created on the first write, or s3://bucket/prefix. A URI that went through
            pathlib.Path (s3:/bucket/prefix) means the same.

    Raises:
        InputError: it is a URI of another scheme.
    """

    def __init__(self, root: Root):
        self._versions = _versions(root)
        self.root = self._versions.root

    def add(self, bundle: Path) -> str:
        """Copy a bundle into the registry under the version in its manifest; idempotent for equal content.

        Returns:
            The version.

        Raises:
            BundleError: the bundle is incomplete.
            RegistryError: the version exists with other content, is being removed, or the store does not answer.
        """
        manifest = verify(bundle, None)
        name, version = manifest.name, manifest.version
        log = self.audit(name)
        if version in self._state(name).get(REMOVING, []):
            raise RegistryError(f"{name}/{version} is being removed", "finish that first: shoprank registry gc")
        self._versions.add(bundle, manifest)
        if version not in self.registered(name):
            # Of two processes that add the same version at once, one writes the line.
            removals = sum(entry["action"] == "remove" and version in entry["versions"] for entry in log.entries())
            log.append_once({**noted("add", version=version), "id": f"add-{version}-{removals}"})
        return version

    def resolve(self, reference: str) -> Path:
        """Return a local folder with `name/version` or `name/alias`, downloaded if the registry is an object store.

        Raises:
            RegistryError: it does not exist; the message lists existing versions and aliases.
            BundleError: what was downloaded is not complete.
        """
        return self._versions.bundle(reference.partition("/")[0], self.version_of(reference))

    def version_of(self, reference: str) -> str:
        """Return the version of `name/version` or `name/alias`.

        Raises:
            RegistryError: it does not exist; the message lists existing versions and aliases.
        """
        name, _, which = reference.partition("/")
        version = self.aliases(name).get(which, which)
        self._known(name, version, self._state(name), which)
        return version

    def uri(self, name: str, version: str) -> str:
        """Path or URI of a version, whether it exists or not."""
        return self._versions.uri(name, version)

    def size(self, name: str, version: str) -> int:
        """Size of a version's files in bytes."""
        return self._versions.manifest(name, version).size

    def versions(self, name: str) -> list[str]:
        """All versions of `name`, oldest data first."""
        removing = self._state(name).get(REMOVING, [])
        return [version for version in self._versions.names(name) if version not in removing]

    def registered(self, name: str) -> list[str]:
        """Versions that the audit log has as added and not removed, in the order of their registration."""
        order: dict[str, None] = {}
        for entry in self.audit(name).entries():
            if entry["action"] == "add":
                order.pop(entry["version"], None)
                order[entry["version"]] = None
            for version in entry.get("versions", ()) if entry["action"] == "remove" else ():
                order.pop(version, None)
        return list(order)

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

        def decide(state: State) -> Decision | None:
            self._known(name, version, state)
            if state.get(CANDIDATE) == version:
                return None
            return {**state, CANDIDATE: version}, noted("candidate", version=version)

        self.aliases_of(name).change(decide)

    def promote(self, name: str, version: str) -> None:
        """Make `version` the champion, keeping the previous one for rollback; idempotent.

        Raises:
            RegistryError: the version is unknown.
        """

        def decide(state: State) -> Decision | None:
            self._known(name, version, state)
            champion = state.get(CHAMPION)
            if champion == version:
                return None
            earlier = [*state.get(EARLIER, []), *([state[PREVIOUS]] if PREVIOUS in state else [])]
            changed = {**state, CHAMPION: version, EARLIER: earlier, **({PREVIOUS: champion} if champion else {})}
            return changed, noted("promote", version=version, replaced=champion)

        self.aliases_of(name).change(decide)

    def rollback(self, name: str) -> str:
        """Make the previous champion the champion again; repeatable for older champions.

        Returns:
            Version of the new champion.

        Raises:
            RegistryError: there is no previous champion.
        """

        def decide(state: State) -> Decision:
            if PREVIOUS not in state:
                raise RegistryError(f"model '{name}' has no previous champion", "promote a version instead")
            state = dict(state)
            failed, champion, earlier = state[CHAMPION], state.pop(PREVIOUS), list(state.get(EARLIER, []))
            if earlier:
                state[PREVIOUS] = earlier.pop()
            changed = {**state, CHAMPION: champion, EARLIER: earlier}
            return changed, noted("rollback", version=champion, replaced=failed)

        return self.aliases_of(name).change(decide)["version"]

    def aliases_of(self, name: str) -> AliasFile:
        """The file of a model's aliases, for changes beside those of this class."""
        return AliasFile(self._versions.documents, check_name(name, "model name"))

    def remove(self, name: str, version: str) -> None:
        """Remove a version's files; only for garbage collection (collection), which has marked it."""
        self._versions.remove(name, version)

    def audit(self, name: str) -> AuditLog:
        """The audit log of a model: registry changes, deployments and rollouts."""
        return self.aliases_of(name).log

    def attach(self, name: str, version: str, record: Path, rollout: str) -> Path | str:
        """Store the record of a rollout with its version.

        Args:
            name: Model name.
            version: A version of the registry.
            record: Folder to copy.
            rollout: Name of the stored record.

        Returns:
            Path or URI of the stored record.

        Raises:
            RegistryError: the version is unknown.
        """
        self._known(name, version, self._state(name))
        return self._versions.attach(record, name, version, rollout)

    def rollouts(self, name: str, version: str) -> list[Path]:
        """Records of a version's rollouts, oldest first, as local folders."""
        return self._versions.records(name, version)

    def rollout_state(self, name: str) -> dict[str, Any]:
        """State of the current rollout, from which a retried step resumes; {} if there is none."""
        stored = self._versions.documents.read(self._rollout(name))
        return json.loads(stored.content) if stored else {}

    def save_rollout(self, name: str, state: dict[str, Any]) -> None:
        """Replace the state of the current rollout."""
        content = json.dumps(state, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
        replace(self._versions.documents, self._rollout(name), content.encode())

    def end_rollout(self, name: str) -> None:
        """Forget the state of the current rollout."""
        self._versions.documents.remove(self._rollout(name))

    def _rollout(self, name: str) -> str:
        return f"{check_name(name, 'model name')}/rollout.json"

    def _state(self, name: str) -> State:
        return self.aliases_of(name).state()

    def _known(self, name: str, version: str, state: State, which: str = "") -> None:
        """Check that a version exists and is not being removed.

        Raises:
            RegistryError: it does not; the message lists existing versions and aliases.
        """
        if is_name(version) and version not in state.get(REMOVING, []) and self._versions.has(name, version):
            return
        versions, aliases = self.versions(name), self.aliases(name)
        if not versions:
            raise RegistryError(f"{self.root} has no model '{name}'", "register one first (register_model)")
        known = [*(f"{alias} ({version})" for alias, version in aliases.items()), *versions[-5:]]
        raise RegistryError(
            f"model '{name}' has no version or alias '{which or version}'", f"it has: {', '.join(known)}"
        )


def is_object_store(root: Root) -> bool:
    """Whether the registry is an object store's prefix and not a folder."""
    return str(root).startswith("s3:/")


def _versions(root: Root) -> Versions:
    if is_object_store(root):
        from components.shared.release.s3_versions import S3Versions

        text = str(root)
        return S3Versions(text if text.startswith("s3://") else text.replace("s3:/", "s3://", 1))
    if "://" in str(root):
        raise InputError(f"registry is '{root}'", "give a folder or s3://bucket/prefix")
    return FolderVersions(Path(root))
