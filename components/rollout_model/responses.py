"""Clicks and purchases after an answer: events of the data contract with its request_id, joined to the inference log.

A request is counted when its window for clicks ends, not when a click arrives; otherwise the version that got traffic
first would have had more time for clicks.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from components.shared.errors import InputError
from components.shared.telemetry.inference_log import Answered

CLICKS = ("view", "cart")
"""Event types that count as a click."""
PURCHASES = ("purchase",)


@dataclass(frozen=True)
class _Waiting:
    """A request whose window for clicks has not ended."""

    version: str
    until: float
    seen: set[str] = field(default_factory=set)


@dataclass
class Responses:
    """Clicks and purchases by request, from a folder that the shop's event stream writes.

    Attributes:
        folder: folder with events: Parquet files (read once, so they must appear complete) or growing JSON Lines files.
        wait_s: window for clicks and purchases after an answer, in seconds.
    """

    folder: Path
    wait_s: float = 300.0
    _waiting: dict[str, _Waiting] = field(default_factory=dict, init=False)
    _read: dict[Path, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise InputError(f"events {self.folder} does not exist", "give the output folder of the event stream")
        if self.wait_s <= 0:
            raise InputError(f"the wait for clicks is {self.wait_s} s", "give a positive number of seconds")

    def answered(self, one: Answered) -> None:
        """Open the window for clicks and purchases of a live answer."""
        self._waiting[one.request_id] = _Waiting(one.version, one.time + self.wait_s)

    def matured(self, now: float) -> dict[str, Counter[str]]:
        """Count requests whose window ended since the last call: {version: {"matured", "clicks", "purchases"}}.

        Raises:
            InputError: a file of events has another format.
        """
        for request_id, event_type in self._new_events():
            waiting = self._waiting.get(request_id)
            if waiting is not None:
                waiting.seen.add(event_type)
        counts: dict[str, Counter[str]] = {}
        for request_id in [name for name, waiting in self._waiting.items() if waiting.until <= now]:
            over = self._waiting.pop(request_id)
            counts.setdefault(over.version, Counter()).update({
                "matured": 1, "clicks": int(bool(over.seen.intersection(CLICKS))),
                "purchases": int(bool(over.seen.intersection(PURCHASES))),
            })  # fmt: skip
        return counts

    def _new_events(self) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for path in sorted(self.folder.iterdir()):
            if path.suffix == ".parquet" and path not in self._read and not path.name.startswith("."):
                found += _parquet(path)
                self._read[path] = 1
            elif path.suffix == ".jsonl":
                found += self._lines(path)
        return found

    def _lines(self, path: Path) -> list[tuple[str, str]]:
        found = []
        with path.open("rb") as stream:
            stream.seek(self._read.get(path, 0))
            for line in stream:
                if not line.endswith(b"\n"):
                    break
                try:
                    event = json.loads(line)
                    found.append((event.get("request_id") or "", event["event_type"]))
                except (ValueError, KeyError, AttributeError) as error:
                    raise InputError(
                        f"{path} at byte {self._read.get(path, 0)} is not a valid event: {error!r}",
                        "write events of the data contract (components/shared/schema/tables.py)",
                    ) from error
                self._read[path] = self._read.get(path, 0) + len(line)
        return found


def _parquet(path: Path) -> list[tuple[str, str]]:
    try:
        table = pq.read_table(path, columns=["request_id", "event_type"])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} has no events with request_id and event_type: {error}",
                         "write events of the data contract (components/shared/schema)") from error  # fmt: skip
    columns = table.column("request_id").to_pylist(), table.column("event_type").to_pylist()
    return [(request_id, kind) for request_id, kind in zip(*columns, strict=True) if request_id]
