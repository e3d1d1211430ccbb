"""The inference log: one JSON line an answer and one a comparison with a shadow, written beside the requests' path.

It names no shopper: a request_id joins it to the events that followed. The predictor writes it, the rollout reads it.
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
"""Outcomes of a question: answered with items, answered with none, failed inside, refused for lack of threads."""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """One question and what became of it."""

    time: float
    """Epoch seconds at the end."""
    request_id: str
    """Sent in the answer; the shop's events carry it on."""
    version: str
    """Of the bundle."""
    outcome: str
    """ok, empty, error or busy."""
    seconds: float
    """From arrival to answer."""
    shadow: bool = False
    """Whether it is the copy of a request that another version answered."""
    items: tuple[str, ...] = ()
    """Answered item ids, best first."""
    propensities: tuple[float, ...] = ()
    """Probability of each item at its position, given the request; empty: nothing explores, all are 1."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The shadow's answer beside the one that was given."""

    time: float
    """Epoch seconds."""
    request_id: str
    """Of both."""
    version: str
    """That answered the shopper."""
    candidate: str
    """That answered the copy."""
    overlap: float
    """Share of the first ten items that both answered."""
    drift: float
    """Mean absolute difference of the scores of items that both answered; 0 when there are none."""
    seconds: float
    """That the candidate took, over HTTP."""


class LogWriter:
    """Writes records in a thread of its own; when it cannot keep up it drops them and counts, and no request waits.

    Args:
        folder: Where files go; one a process, a new one after `rotate_bytes`.
        name: Of this process, such as the pod's.
        rotate_bytes: Size of a file.
        waiting: Records that may wait.
    """

    def __init__(self, folder: Path, name: str, rotate_bytes: int = 64_000_000, waiting: int = 10_000):
        self._folder, self._name, self._rotate = folder, name, rotate_bytes
        self._waiting: queue.Queue[Answered | Compared | None] = queue.Queue(waiting)
        self.dropped = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._open()
        except OSError as error:
            raise InputError(f"--inference_log {folder}: {error.strerror}", "name a folder that can be written"
                             ) from error  # fmt: skip
        self._thread = threading.Thread(target=self._run, name="inference-log", daemon=True)
        self._thread.start()

    def write(self, record: Answered | Compared) -> None:
        """Hand a record over; never waits."""
        try:
            self._waiting.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Write what waits and end."""
        self._waiting.put(None)
        self._thread.join(5)

    def _open(self) -> None:
        path = self._folder / f"{self._name}-{time.time_ns()}{SUFFIX}"
        # Line-buffered: a reader sees whole lines, and a killed process loses none that were written.
        self._stream: IO[str] = path.open("w", encoding="utf-8", buffering=1)

    def _run(self) -> None:
        while (record := self._waiting.get()) is not None:
            try:
                self._stream.write(line_of(record))
            except OSError:
                # A full disk must not end the predictor; what is lost is counted.
                self.dropped += 1
            # A folder that takes no new file leaves the old one in use.
            with contextlib.suppress(OSError):
                self._rotated()
        self._stream.close()

    def _rotated(self) -> None:
        if self._stream.tell() > self._rotate:
            full = self._stream
            self._open()
            full.close()


def line_of(record: Answered | Compared) -> str:
    """A record as one line of JSON."""
    return json.dumps({"kind": type(record).__name__.lower(), **dataclasses.asdict(record)}, ensure_ascii=False) + "\n"


@dataclass
class LogReader:
    """Reads what was added to a folder of logs since the last time; half a line is left for the next time.

    Attributes:
        folder: of the logs of all pods. offsets: bytes read of each file, JSON values, kept by whoever goes on later.
    """

    folder: Path
    offsets: dict[str, int] = dataclasses.field(default_factory=dict)

    def read(self) -> Iterator[Answered | Compared]:
        """New records, file by file.

        Raises:
            InputError: names file and byte of a line that is no record.
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
        """Leave out every whole line that is there already."""
        self.offsets = {path.name: _whole_lines(path) for path in self.folder.glob(f"*{SUFFIX}")}


def _whole_lines(path: Path, chunk: int = 1 << 20) -> int:
    """Bytes up to the end of the last whole line; the writer may be in the middle of the next one."""
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
        raise InputError(f"{where} is no record of the inference log: {error!r}", "remove the line") from error
