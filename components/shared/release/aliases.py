"""aliases.json of a model, changed by compare-and-swap, and its audit log, which gets one line per change.

The file holds the last change itself, and the next one is made only after that is in the log: a killed process
leaves at most one line to add, which whoever comes next adds, in the order of the changes. Nothing needs a clock.
"""

import json
from collections.abc import Callable
from typing import Any

from components.shared.errors import InputError
from components.shared.release.audit import AuditLog
from components.shared.release.documents import Changed, Documents, attempts

CANDIDATE, CHAMPION, PREVIOUS = "candidate", "champion", "previous"
ALIASES = (CANDIDATE, CHAMPION, PREVIOUS)
EARLIER, REMOVING = "earlier", "removing"
"""Older champions, newest last; versions that garbage collection is removing."""
_CHANGE = "change"

State = dict[str, Any]
"""Content of aliases.json, without the last change."""

Decision = tuple[State, dict[str, Any]]
"""The next state, and `audit.noted` of the change."""


class AliasFile:
    """The aliases of one model.

    Args:
        documents: Where they are.
        model: Name of the model.
    """

    def __init__(self, documents: Documents, model: str):
        self._documents, self._key = documents, f"{model}/aliases.json"
        self.log = AuditLog(documents, f"{model}/audit.jsonl")

    def state(self) -> State:
        """The present state, {} before the first change.

        Raises:
            InputError: the file is not JSON.
        """
        return {name: value for name, value in self._read()[0].items() if name != _CHANGE}

    def change(self, decide: Callable[[State], Decision | None]) -> dict[str, Any]:
        """Change the state and log the change.

        Args:
            decide: Called with the present state until nobody else changes it meanwhile; None: nothing to change.

        Returns:
            The change, {} if there was none.

        Raises:
            RegistryError: others changed it all the time, or the object store does not answer.
            InputError: the registry cannot be written.
        """
        tried: dict[str, Any] = {}
        for _ in attempts(self._documents.location(self._key)):
            state, tag = self._read()
            if _CHANGE in state:
                self.log.append_once(state.pop(_CHANGE))
            if tried and any(entry.get("id") == tried["id"] for entry in self.log.entries()):
                # The answer was lost, not the write.
                return tried
            decided = decide(state)
            if decided is None:
                return {}
            following, tried = decided
            content = json.dumps({**following, _CHANGE: tried}, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
            try:
                self._documents.write(self._key, content.encode(), tag)
            except Changed:
                continue
            self.log.append_once(tried)
            return tried
        raise AssertionError("attempts raises at its end")

    def _read(self) -> tuple[State, str | None]:
        stored = self._documents.read(self._key)
        try:
            return (json.loads(stored.content), stored.tag) if stored else ({}, None)
        except ValueError as error:
            where = self._documents.location(self._key)
            raise InputError(f"{where} is not JSON: {error}", "restore it from a backup of the registry") from error
