"""The output folder of local runs: one run at a time, one folder per run.

out/registry/  out/keys/  out/report.html
out/runs/<time>/{run.json, run.log, pipeline/<task>/<artifact>}
"""

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.shared.errors import InputError, ShoprankError
from components.shared.storage import read_json, write_json
from pipelines.local.log import Ended, LogReader, Progressed, Started, Told
from pipelines.local.processes import MARK, delayed_signals, end_run


class RunFailed(ShoprankError):
    """A stage failed; headline and fix are those of the stage's error."""


@dataclass(frozen=True)
class Run:
    """A finished local run.

    Attributes:
        folder: out/runs/<time>.
        pipeline: Name of the pipeline.
        arguments: Pipeline arguments.
        stages: (task, seconds) in order.
    """

    folder: Path
    pipeline: str
    arguments: dict[str, Any]
    stages: tuple[tuple[str, float], ...]

    def artifact(self, task: str, name: str) -> Path:
        """Path of a task's output.

        Raises:
            InputError: the output does not exist.
        """
        found = sorted((self.folder / "pipeline").glob(f"*/**/{task}/{name}"))
        if not found:
            raise InputError(
                f"run {self.folder} has no output '{name}' of '{task}'", "choose a run that completed this task"
            )
        return found[-1]

    def has(self, task: str) -> bool:
        """Whether the task ran."""
        return task in dict(self.stages)

    @classmethod
    def read(cls, folder: Path) -> "Run":
        """Read a run from its folder, or the latest run of an output folder.

        Raises:
            InputError: the folder has no run.
        """
        runs = sorted((folder / "runs").glob("*/run.json"))
        path = runs[-1] if runs else folder / "run.json"
        if not path.exists():
            raise InputError(
                f"RUN: {folder} contains no run", "give an output folder or one of its runs/<time> folders"
            )
        raw = read_json(path)
        return cls(path.parent, raw["pipeline"], raw["arguments"], tuple((task, s) for task, s in raw["stages"]))


@contextlib.contextmanager
def exclusive(out: Path) -> Iterator[None]:
    """Lock the output folder for one run.

    Raises:
        InputError: another run uses it, or it is not writable.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = (out / ".lock").open("w")
    except OSError as error:
        raise InputError(f"--out {out}: {error.strerror}", "choose a writable folder") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"--out {out}: another run is using this folder", "wait for it or choose another --out"
            ) from None
        yield


def run_local(
    pipeline: str, arguments: dict[str, Any], out: Path, watch: Callable[[Started | Ended | Progressed | Told], None]
) -> Run:
    """Run a pipeline in a child process; `watch` is called with every event.

    Raises:
        RunFailed: a stage failed.
    """
    folder = (out / "runs" / datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")).resolve()
    job = {"pipeline": pipeline, "arguments": arguments, "root": str(folder / "pipeline")}
    write_json(folder / "job.json", job)
    reader, stages, began = LogReader(), [], time.monotonic()
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONUNBUFFERED": "1", "SHOPRANK_RETRIES": "0",
                   MARK: str(folder)}  # fmt: skip
    command = [sys.executable, "-m", "pipelines.local.worker", str(folder / "job.json")]
    process = None
    try:
        with delayed_signals():
            # In its own session: Ctrl-C reaches only this command, which then ends the run cleanly.
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                       env=environment, start_new_session=True)  # fmt: skip
        assert process.stdout is not None
        with (folder / "run.log").open("w", encoding="utf-8") as log:
            for line in process.stdout:
                log.write(line)
                event = reader.read(line)
                if isinstance(event, Started):
                    began = time.monotonic()
                if isinstance(event, Ended) and event.ok and "-dag" not in event.task:
                    stages.append((event.task, round(time.monotonic() - began, 2)))
                if event is not None:
                    watch(event)
        code = process.wait()
    except BaseException:
        end_run(str(folder))
        if process is not None:
            process.wait()
        raise
    if code:
        headline = reader.headline or f"the run failed with exit code {code}: {reader.last_error_line()}"
        raise RunFailed(headline, reader.fix or f"read {folder / 'run.log'}")
    write_json(folder / "run.json", {"pipeline": pipeline, "arguments": arguments, "stages": stages})
    return Run(folder, pipeline, arguments, tuple(stages))


def lineage(data: str, size: str) -> dict[str, str]:
    """Lineage that a local run records in the bundle: source, size, commit."""
    git = subprocess.run(["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"],
                         capture_output=True, text=True, check=False)  # fmt: skip
    return {"source": data, "size": size, "commit": git.stdout.strip() or "unknown"}
