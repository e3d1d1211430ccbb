"""An append-only log with lines chained by SHA-256, so that changed, removed, added or reordered lines are detected.

    audit.jsonl  one JSON object per line: seq, when, who, action, facts, previous (hash of the previous line), hash
    audit.head   seq and hash of the last line, so that truncation is detected too

Anyone who can write both files can forge a history; a separate copy of the head detects that (`verify(head=...)`).
Hash-linked time-stamping after Haber & Stornetta (1991).
"""

import contextlib
import datetime
import fcntl
import getpass
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.shared.errors import AuditError, InputError
from components.shared.storage import read_json, write_json

START = "0" * 64
"""`previous` of the first line."""

_FIX = "compare it with a backup; the log was modified outside shoprank"


class AuditLog:
    """An audit log.

    Args:
        path: Path of the log; `.head` and `.lock` are in the same folder.
    """

    def __init__(self, path: Path):
        self.path, self._head = path, path.with_suffix(".head")

    def append(self, action: str, **facts: Any) -> dict[str, Any]:
        """Add one line, flushed to disk before this returns.

        Args:
            action: The recorded action, a verb.
            facts: JSON values; never a secret.

        Returns:
            The new line.

        Raises:
            AuditError: the last line does not match the head.
            InputError: the log cannot be written.
        """
        with self._alone():
            lines = self._lines()
            self._check_head(lines, _parse(lines[-1], len(lines)) if lines else None)
            before = _parse(lines[-1], len(lines))["hash"] if lines else START
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
            entry = {
                "seq": len(lines) + 1,
                "when": now,
                "who": current_user(),
                "action": action,
                **facts,
                "previous": before,
            }
            entry["hash"] = _digest(entry)
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(entry, ensure_ascii=False) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            write_json(self._head, {"seq": entry["seq"], "hash": entry["hash"]})
        return entry

    def entries(self) -> list[dict[str, Any]]:
        """All entries, oldest first, unverified."""
        return [_parse(line, number) for number, line in enumerate(self._lines(), 1)]

    def verify(self, head: str = "") -> int:
        """Verify the hash chain and the head.

        Args:
            head: Expected hash of the last line, from a separate copy; '' trusts the head file.

        Returns:
            Number of lines.

        Raises:
            AuditError: names the first invalid line.
        """
        lines, before, last = self._lines(), START, None
        for number, line in enumerate(lines, 1):
            last = _parse(line, number)
            if last.get("seq") != number:
                raise AuditError(f"{self.path} line {number}: its number is {last.get('seq')}", _FIX)
            if last.get("previous") != before:
                raise AuditError(f"{self.path} line {number}: its hash of the previous line does not match", _FIX)
            if last.get("hash") != _digest({name: value for name, value in last.items() if name != "hash"}):
                raise AuditError(f"{self.path} line {number} was changed", _FIX)
            before = last["hash"]
        self._check_head(lines, last)
        if head and before != head:
            raise AuditError(f"{self.path} ends with hash {before[:16]}, expected {head[:16]}", _FIX)
        return len(lines)

    def _check_head(self, lines: list[str], last: dict[str, Any] | None) -> None:
        """Check that the head matches the last line; one more line is valid after a crash between the two writes."""
        if not self._head.exists():
            if len(lines) > 1:
                raise AuditError(f"{self._head} is missing", _FIX)
            return
        head = read_json(self._head)
        behind = last is not None and len(lines) == head["seq"] + 1 and last.get("previous") == head["hash"]
        if not behind and (len(lines) != head["seq"] or last is None or last.get("hash") != head["hash"]):
            raise AuditError(f"{self.path} has {len(lines)} lines but its head is of line {head['seq']}", _FIX)

    def _lines(self) -> list[str]:
        try:
            return self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        except UnicodeDecodeError as error:
            raise AuditError(f"{self.path} is not UTF-8: {error}", _FIX) from error

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.with_suffix(".lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror}", "free space, or choose a writable folder"
                             ) from error  # fmt: skip


def current_user() -> str:
    """The current user@host; the user id if it has no name, as in many pods."""
    user = os.environ.get("USER") or (getpass.getuser() if os.getuid() == 0 else str(os.getuid()))
    return f"{user}@{socket.gethostname()}"


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
