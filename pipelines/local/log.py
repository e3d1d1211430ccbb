"""Parses the log of a local run: stage starts, progress and ends, and the error with its fix."""

import re
from dataclasses import dataclass, field

from components.shared import progress

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_STARTED = re.compile(r"Executing task '(?P<task>[a-z0-9-]+)'")
_ENDED = re.compile(r"Task '(?P<task>[a-z0-9-]+)' finished with status (?P<status>[A-Z]+)")
_ERROR = re.compile(r"^\s*components\.shared\.errors\.\w+: (?P<headline>.*)$")
_FIX = re.compile(r"^\s*fix: (?P<fix>.*)$")


@dataclass(frozen=True)
class Started:
    """A task started."""

    task: str


@dataclass(frozen=True)
class Ended:
    """A task ended; `ok` is False if it failed."""

    task: str
    ok: bool


@dataclass(frozen=True)
class Progressed:
    """A task reported its progress, 0 to 1."""

    share: float
    note: str


@dataclass(frozen=True)
class Told:
    """A task told something of its input."""

    text: str


@dataclass
class LogReader:
    """Parses a log line by line and keeps the last error."""

    headline: str = ""
    fix: str = ""
    """What to do; its further lines are indented like it or deeper in the log."""
    _indent: int | None = None
    """Indentation of the fix while its lines are read."""
    _tail: list[str] = field(default_factory=list)

    def read(self, line: str) -> Started | Ended | Progressed | Told | None:
        """The event in a line, or None."""
        line = _COLOUR.sub("", line.rstrip("\n"))
        if self._indent is not None and line.startswith(" " * self._indent) and not _FIX.match(line):
            self.fix += f"\n{line[self._indent - 2 :]}"
            return None
        self._indent = None
        # First, because it has words of the shop.
        if (text := progress.parse_told(line)) is not None:
            return Told(text)
        if found := _STARTED.search(line):
            return Started(found["task"])
        if found := _ENDED.search(line):
            return Ended(found["task"], found["status"] == "SUCCESS")
        if found := progress.parse(line):
            return Progressed(found[1], found[2])
        if found := _ERROR.match(line):
            self.headline, self.fix = found["headline"], ""
        elif (found := _FIX.match(line)) and self.headline and not self.fix:
            self.fix, self._indent = found["fix"], max(found.start("fix") - len("fix: "), 2)
        elif line.strip():
            self._tail = [*self._tail[-30:], line.strip()]
        return None

    def last_error_line(self) -> str:
        """The last line that looks like an error, for failures without headline and fix."""
        telling = [line for line in self._tail if re.match(r"[\w.]*(Error|Exception|Killed)\b", line)]
        own = [line for line in telling if not line.startswith("RuntimeError: Pipeline")]
        return (own or telling or self._tail or ["the log is empty"])[-1]
