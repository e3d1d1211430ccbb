"""An append-only log whose lines are chained by SHA-256: a changed, removed, added or reordered line is found.

    audit.jsonl  one JSON object a line: seq, when, who, action, facts, previous (hash of the line before), hash
    audit.head   seq and hash of the last line, so that cutting the end off is found too

Whoever may write both files can write a new history; a copy of the head kept elsewhere finds that (`verify(head=...)`).
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
"""What the first line names as the hash before it."""

_FIX = "compare it with a backup; somebody or something wrote into the log by another way than shoprank"


class AuditLog:
    """One log.

    Args:
        path: Its file; `.head` and `.lock` lie beside it.
    """

    def __init__(self, path: Path):
        self.path, self._head = path, path.with_suffix(".head")

    def append(self, action: str, **facts: Any) -> dict[str, Any]:
        """Add one line, flushed to disk before this returns.

        Args:
            action: What was done, a verb.
            facts: JSON values; never a secret.

        Returns:
            The line.

        Raises:
            AuditError: the last line is not what the head says.
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
                "who": whoever(),
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
        """Every line, oldest first, unchecked."""
        return [_parse(line, number) for number, line in enumerate(self._lines(), 1)]

    def verify(self, head: str = "") -> int:
        """Check every line against the one before it and the last against the head.

        Args:
            head: Hash that the last line must have, from a copy kept elsewhere; '' trusts the head file.

        Returns:
            How many lines there are.

        Raises:
            AuditError: names the first line that is wrong.
        """
        lines, before, last = self._lines(), START, None
        for number, line in enumerate(lines, 1):
            last = _parse(line, number)
            if last.get("seq") != number:
                raise AuditError(f"{self.path} line {number}: it says it is line {last.get('seq')}", _FIX)
            if last.get("previous") != before:
                raise AuditError(f"{self.path} line {number}: the line before it is not the one it followed", _FIX)
            if last.get("hash") != _digest({name: value for name, value in last.items() if name != "hash"}):
                raise AuditError(f"{self.path} line {number} was changed", _FIX)
            before = last["hash"]
        self._check_head(lines, last)
        if head and before != head:
            raise AuditError(f"{self.path} ends with {before[:16]}, not with {head[:16]}", _FIX)
        return len(lines)

    def _check_head(self, lines: list[str], last: dict[str, Any] | None) -> None:
        """The head must name the last line; one line more is a crash between writing the two files."""
        if not self._head.exists():
            if len(lines) > 1:
                raise AuditError(f"{self._head} is missing", _FIX)
            return
        head = read_json(self._head)
        behind = last is not None and len(lines) == head["seq"] + 1 and last.get("previous") == head["hash"]
        if not behind and (len(lines) != head["seq"] or last is None or last.get("hash") != head["hash"]):
            raise AuditError(f"{self.path} has {len(lines)} lines and its head names line {head['seq']}", _FIX)

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
            raise InputError(f"cannot write {self.path}: {error.strerror}", "free space, or name a folder you may write"
                             ) from error  # fmt: skip


def whoever() -> str:
    """Who acts, as user@host; a pod often runs as a user id without a name."""
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
