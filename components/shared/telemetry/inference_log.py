"""The inference log: one JSON line per answer or shadow comparison, written in the background.

It has no shopper ids; request_id joins it to later events. Written by the predictor, read by the rollout.
"""

import contextlib
import dataclasses
import json
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from components.shared.errors import InputError

SUFFIX = ".jsonl"
OK, EMPTY, ERROR, BUSY = "ok", "empty", "error", "busy"
"""Outcomes of a request: answered with items, answered without items, internal error, rejected for overload."""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A request with its outcome."""

    time: float
    """Time of the answer, epoch seconds."""
    request_id: str
    """Id in the answer, repeated in the shop's events."""
    version: str
    """Version of the bundle."""
    outcome: str
    """ok, empty, error or busy."""
    seconds: float
    """Seconds from arrival to answer."""
    shadow: bool = False
    """Whether the request was a copy for a shadow."""
    items: tuple[str, ...] = ()
    """Answered item ids, best first."""
    propensities: tuple[float, ...] = ()
    """Probability of each item at its position, given the request; empty without exploration (all 1)."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Comparison of a shadow's answer with the live one."""

    time: float
    """Epoch seconds."""
    request_id: str
    """Id of both requests."""
    version: str
    """Version of the live answer."""
    candidate: str
    """Version of the shadow."""
    overlap: float
    """Share of the first ten items common to both."""
    drift: float
    """Mean absolute score difference of common items; 0 if there are none."""
    seconds: float
    """Latency of the shadow over HTTP."""


class LogWriter:
    """Writes records in a background thread; never blocks, drops and counts records if the queue is full.

    Args:
        folder: Output folder; one file per process, a new one after `rotate_bytes`.
        name: Name of this process, such as the pod's.
        rotate_bytes: Maximum size of a file.
        waiting: Maximum length of the queue.
    """

    def __init__(self, folder: Path, name: str, rotate_bytes: int = 64_000_000, waiting: int = 10_000):
        self._folder, self._name, self._rotate = folder, name, rotate_bytes
        self._waiting: queue.Queue[Answered | Compared | None] = queue.Queue(waiting)
        self.dropped = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._open()
        except OSError as error:
            raise InputError(f"--inference_log {folder}: {error.strerror}", "give a writable folder"
                             ) from error  # fmt: skip
        self._thread = threading.Thread(target=self._run, name="inference-log", daemon=True)
        self._thread.start()

    def write(self, record: Answered | Compared) -> None:
        """Enqueue a record; never blocks."""
        try:
            self._waiting.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Write queued records and stop."""
        self._waiting.put(None)
        self._thread.join(5)

    def _open(self) -> None:
        path = self._folder / f"{self._name}-{time.time_ns()}{SUFFIX}"
        # Line-buffered: readers see complete lines, and a killed process loses none.
        self._stream: IO[str] = path.open("w", encoding="utf-8", buffering=1)

    def _run(self) -> None:
        while (record := self._waiting.get()) is not None:
            try:
                self._stream.write(line_of(record))
            except OSError:
                # A full disk must not stop the predictor; lost records are counted.
                self.dropped += 1
            # If no new file can be created, keep the current one.
            with contextlib.suppress(OSError):
                self._rotated()
        self._stream.close()

    def _rotated(self) -> None:
        if self._stream.tell() > self._rotate:
            full = self._stream
            self._open()
            full.close()


def line_of(record: Answered | Compared) -> str:
    """Return a record as one line of JSON."""
    return json.dumps({"kind": type(record).__name__.lower(), **dataclasses.asdict(record)}, ensure_ascii=False) + "\n"


@dataclass
class LogReader:
    """Reads new records from a folder of logs; incomplete lines are left for the next call.

    Attributes:
        folder: folder with the logs of all pods. offsets: bytes read of each file, to be saved for resuming.
    """

    folder: Path
    offsets: dict[str, int] = dataclasses.field(default_factory=dict)

    def read(self) -> Iterator[Answered | Compared]:
        """Yield new records, file by file.

        Raises:
            InputError: a line is invalid; names file and byte offset.
        """
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            with path.open("rb") as stream:
                stream.seek(self.offsets.get(path.name, 0))
                for line in stream:
                    if not line.endswith(b"\n"):
                        break
                    yield _record(line, f"{path} at byte {self.offsets.get(path.name, 0)}")
                    self.offsets[path.name] = self.offsets.get(path.name, 0) + len(line)

    def skip(self) -> None:
        """Skip all existing complete lines."""
        self.offsets = {path.name: _whole_lines(path) for path in self.folder.glob(f"*{SUFFIX}")}


def _whole_lines(path: Path, chunk: int = 1 << 20) -> int:
    """Bytes up to the end of the last complete line."""
    with path.open("rb") as stream:
        end = stream.seek(0, 2)
        while end:
            start = max(0, end - chunk)
            stream.seek(start)
            newline = stream.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return 0


def _record(line: bytes, where: str) -> Answered | Compared:
    kinds: dict[str, type[Answered] | type[Compared]] = {"answered": Answered, "compared": Compared}
    try:
        raw: dict[str, Any] = json.loads(line)
        kind = kinds[raw.pop("kind")]
        lists = {name: tuple(raw[name]) for name in ("items", "propensities") if name in raw}
        return kind(**{**raw, **lists})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{where} is not a valid record of the inference log: {error!r}", "remove the line") from error
