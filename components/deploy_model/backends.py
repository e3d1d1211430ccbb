"""Where a version can be released; every target implements `Backend`.

KServe on a cluster will be one more class here: `release` writes the InferenceService, `current` reads it.
"""

from pathlib import Path
from typing import Protocol

from components.shared.errors import InputError
from components.shared.registry import CHAMPION, Registry


class Backend(Protocol):
    """A place that serves one version of each model."""

    def current(self, name: str) -> str:
        """Version that is served now, '' when none is."""
        ...

    def release(self, name: str, version: str) -> None:
        """Serve `version` from now on and remember the one before; the same version again is no change."""
        ...

    def rollback(self, name: str) -> str:
        """Serve the version before again and return it."""
        ...


class LocalBackend:
    """The registry's `champion` alias: whoever serves or evaluates `name/champion` gets the released version.

    Args:
        registry: Folder of the registry.
    """

    def __init__(self, registry: Path):
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


def backend_named(name: str, registry: Path) -> Backend:
    """The backend called `name`.

    Raises:
        InputError: there is no such backend.
    """
    backends = {"local": LocalBackend}
    if name not in backends:
        raise InputError(f"backend is '{name}'", f"use one of: {', '.join(backends)}")
    return backends[name](registry)
