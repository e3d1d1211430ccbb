"""Release targets: the registry's champion only, or an InferenceService (kserve.KServeBackend)."""

from typing import Protocol

from components.deploy_model.kserve import KServeBackend, KServeTarget
from components.shared.errors import InputError
from components.shared.release.registry import CHAMPION, Registry, Root


class Backend(Protocol):
    """A release target that serves one version of each model."""

    def current(self, name: str) -> str:
        """Return the currently served version, or ''."""
        ...

    def release(self, name: str, version: str) -> None:
        """Serve `version`, keeping the previous one for rollback; idempotent."""
        ...

    def rollback(self, name: str) -> str:
        """Serve the previous version again and return it."""
        ...


class LocalBackend:
    """The registry's `champion` alias: users of `name/champion` get the released version.

    Args:
        registry: Folder or s3:// URI of the registry.
    """

    def __init__(self, registry: Root):
        self._registry = Registry(registry)

    def current(self, name: str) -> str:
        """See Backend."""
        return self._registry.aliases(name).get(CHAMPION, "")

    def release(self, name: str, version: str) -> None:
        """See Backend."""
        self._registry.promote(name, version)

    def rollback(self, name: str) -> str:
        """See Backend."""
        return self._registry.rollback(name)


def backend_named(name: str, registry: Root, target: KServeTarget | None = None) -> Backend:
    """Return the backend called `name`.

    Args:
        name: local or kserve.
        registry: Folder or s3:// URI of the registry.
        target: Service of the backend kserve.

    Raises:
        InputError: the backend does not exist, or kserve has no target.
    """
    if name == "local":
        return LocalBackend(registry)
    if name != "kserve":
        raise InputError(f"backend is '{name}'", "use one of: local, kserve")
    if target is None:
        raise InputError("backend is 'kserve' without a service", "give the name of the InferenceService")
    return KServeBackend(registry, target)
