"""An append-only log with lines chained by SHA-256, so that changed, removed, added or reordered lines are detected.

    audit.jsonl  one JSON object per line: seq, id, when, who, action, facts, previous (hash of the previous line), hash
    audit.head   seq and hash of the last line, so that truncation is detected too

A line is appended by compare-and-swap; `id` tells a lost answer from a lost line. The order is that of `seq`, so clocks
may differ. Anyone who can write both files can forge a history; a separate copy of the head detects that
(`verify(head=...)`). Hash-linked time-stamping after Haber & Stornetta (1991).
"""

import datetime
import getpass
import hashlib
import json
import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.shared.errors import AuditError
from components.shared.release.documents import Changed, Documents, Stored, attempts

START = "0" * 64
"""`previous` of the first line."""

OWN_FIELDS = ("seq", "id", "when", "who", "action", "previous", "hash")
"""Fields that every line has, beside the facts of its action."""

_FIX = "compare it with a backup; the log was modified outside shoprank"


@dataclass(frozen=True)
class _Snapshot:
    """Log and head as of one moment."""

    log: Stored | None
    head: Stored | None
    where: Path | str

    def lines(self) -> list[str]:
        try:
            text = self.log.content.decode() if self.log else ""
        except UnicodeDecodeError as error:
            raise AuditError(f"{self.where} is not UTF-8: {error}", _FIX) from error
        return [line for line in text.split("\n") if line]

    def fault(self) -> str:
        """What is wrong between log and head, ''; one more line is right after a crash between the two writes."""
        lines = self.lines()
        if self.head is None:
            return f"{self.where}: its head is missing" if len(lines) > 1 else ""
        head, last = _head(self.head), _parse(lines[-1], len(lines)) if lines else {}
        behind = len(lines) == head["seq"] + 1 and last.get("previous") == head["hash"]
        right = len(lines) == head["seq"] and last.get("hash") == head["hash"]
        return "" if behind or right else f"{self.where} has {len(lines)} lines but its head is of line {head['seq']}"


class AuditLog:
    """An audit log.

    Args:
        documents: Where it is.
        key: Its key there, NAME/audit.jsonl; the head is beside it.
    """

    def __init__(self, documents: Documents, key: str = "audit.jsonl"):
        self._documents, self._log, self._head = documents, key, key.removesuffix(".jsonl") + ".head"
        self.location = documents.location(key)
        """Path or URI of the log."""

    def append(self, action: str, **facts: Any) -> dict[str, Any]:
        """Add one line, stored before this returns.

        Args:
            action: The recorded action, a verb.
            facts: JSON values; never a secret.

        Returns:
            The new line.

        Raises:
            AuditError: the last line does not match the head.
            InputError: the log cannot be written.
            RegistryError: the object store does not answer.
        """
        return self.append_once(noted(action, **facts))

    def append_once(self, change: dict[str, Any]) -> dict[str, Any]:
        """Add what `noted` returned, unless a line has its id; return the line. Errors: see `append`."""
        for _ in attempts(self.location):
            found = self._snapshot()
            lines = [_parse(line, number) for number, line in enumerate(found.lines(), 1)]
            known = next((line for line in reversed(lines) if line.get("id") == change["id"]), None)
            if lines and (found.head is None or _head(found.head)["seq"] < len(lines)):
                # Only the last line may be ahead of the head: a line is added when the head has caught up.
                self._advance_head(lines[-1])
            if known:
                return known
            entry = {"seq": len(lines) + 1, **change, "previous": lines[-1]["hash"] if lines else START}
            entry["hash"] = _digest(entry)
            before = found.log.content if found.log else b""
            line = json.dumps(entry, ensure_ascii=False) + "\n"
            try:
                self._documents.write(self._log, before + line.encode(), found.log.tag if found.log else None)
            except Changed:
                continue
            self._advance_head(entry)
            return entry
        raise AssertionError("attempts raises at its end")

    def entries(self) -> list[dict[str, Any]]:
        """All entries, oldest first, unverified."""
        log = _Snapshot(self._documents.read(self._log), None, self.location)
        return [_parse(line, number) for number, line in enumerate(log.lines(), 1)]

    def verify(self, head: str = "") -> int:
        """Verify the hash chain and the head.

        Args:
            head: Expected hash of the last line, from a separate copy; '' trusts the head file.

        Returns:
            Number of lines.

        Raises:
            AuditError: names the first invalid line.
        """
        found = self._snapshot(check=False)
        lines, before, where = found.lines(), START, self.location
        for number, line in enumerate(lines, 1):
            entry = _parse(line, number)
            if entry.get("seq") != number:
                raise AuditError(f"{where} line {number}: its number is {entry.get('seq')}", _FIX)
            if entry.get("previous") != before:
                raise AuditError(f"{where} line {number}: its hash of the previous line does not match", _FIX)
            if entry.get("hash") != _digest({name: value for name, value in entry.items() if name != "hash"}):
                raise AuditError(f"{where} line {number} was changed", _FIX)
            before = entry["hash"]
        if found.fault():
            raise AuditError(found.fault(), _FIX)
        if head and before != head:
            raise AuditError(f"{where} ends with hash {before[:16]}, expected {head[:16]}", _FIX)
        return len(lines)

    def _snapshot(self, check: bool = True) -> _Snapshot:
        """Log and head of one moment: both are read again until they match, or are twice the same.

        Raises:
            AuditError: they do not match.
        """
        before = None
        while True:
            found = _Snapshot(self._documents.read(self._log), self._documents.read(self._head), self.location)
            # The lines themselves are looked at by `verify`, which names the first wrong one.
            settled = found == before
            if settled and not check:
                return found
            fault = found.fault()
            if not fault:
                return found
            if settled:
                raise AuditError(fault, _FIX)
            before = found

    def _advance_head(self, entry: dict[str, Any]) -> None:
        content = json.dumps({"seq": entry["seq"], "hash": entry["hash"]}, indent=2, sort_keys=True) + "\n"
        for _ in attempts(self.location):
            head = self._documents.read(self._head)
            if head and _head(head)["seq"] >= entry["seq"]:
                return
            try:
                return self._documents.write(self._head, content.encode(), head.tag if head else None)
            except Changed:
                continue


def noted(action: str, **facts: Any) -> dict[str, Any]:
    """What a line says about an action, before it has a place in the log: id, when, who, action and facts."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    return {"id": uuid.uuid4().hex, "when": now, "who": current_user(), "action": action, **facts}


def current_user() -> str:
    """The current user@host; the user id if it has no name, as in many pods."""
    user = os.environ.get("USER") or (getpass.getuser() if os.getuid() == 0 else str(os.getuid()))
    return f"{user}@{socket.gethostname()}"


def _head(stored: Stored) -> dict[str, Any]:
    try:
        found = json.loads(stored.content)
        return {"seq": int(found["seq"]), "hash": str(found["hash"])}
    except (ValueError, KeyError, TypeError) as error:
        raise AuditError(f"the head of the audit log is not valid: {error}", _FIX) from error


def _digest(entry: dict[str, Any]) -> str:
    canonical = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _parse(line: str, number: int) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        raise AuditError(f"audit log line {number} is not JSON: {error}", _FIX) from error
    if not isinstance(found, dict):
        raise AuditError(f"audit log line {number} is not an object", _FIX)
    return found
