"""Run a worker module under torchrun in this pod and report its end in words."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.shared.errors import InputError, TrainingError
from components.shared.storage import write_json

_RANK = re.compile(r"^\[rank\d+\]: ?")
_OWN = re.compile(r"^components\.shared\.errors\.\w+: (?P<headline>.*)$")
_ERROR = re.compile(r"^[\w.]*(?:Error|Exception)\b")
_EXIT = re.compile(r"exitcode\s*: (?P<code>-?\d+)")


@dataclass(frozen=True, kw_only=True)
class LaunchConfig:
    """How many processes, and how often a failed group is restarted."""

    processes: int = 1
    """Worker processes; on a GPU node one a GPU."""
    max_restarts: int = 3
    """Group restarts, each from the last whole checkpoint."""
    threads: int = 0
    """Threads of each worker (0: the cores this process may use, divided by processes)."""


def check_shares(batch: int, processes: int, unit: str) -> None:
    """Refuse a number of processes that cannot share a global batch out evenly; ranks must do the same steps.

    Raises:
        InputError: names the numbers of processes that can.
    """
    if processes < 1 or batch % processes:
        fitting = [str(number) for number in range(1, batch + 1) if batch % number == 0]
        raise InputError(
            f"processes is {processes}, which does not divide a batch of {batch} {unit}",
            f"use one of: {', '.join(fitting)}",
        )


def lasting_folder(parent: Path, settings: dict[str, Any], inputs: Sequence[Path]) -> Path:
    """The subfolder of `parent` for runs with these settings over these files.

    A retried step finds its checkpoints there; a run over other data or with other settings must not, and gets another.

    Args:
        parent: A folder on a lasting volume.
        settings: JSON values; the number of processes is left out, because a run may resume with another one.
        inputs: Files that decide the result; their contents count, not their names.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in inputs:
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return parent / digest.hexdigest()[:16]


def torchrun(worker: str, job: dict, folder: Path, config: LaunchConfig) -> None:
    """Run `python -m worker --job JOB` in `config.processes` processes and pass its output through.

    Args:
        worker: Module name, such as components.train_retriever.worker.
        job: What the worker is to do, as JSON values; written to `folder/job.json`.
        folder: Where the job's file lies.
        config: Number of processes and restarts.

    Raises:
        TrainingError: the group failed more than `max_restarts` times; says what the worker said last.
    """
    write_json(folder / "job.json", job)
    threads = config.threads or max(1, len(os.sched_getaffinity(0)) // config.processes)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1",
        f"--nproc-per-node={config.processes}",
        f"--max-restarts={config.max_restarts}", "--monitor-interval=0.2", "-m", worker, "--job",
        str(folder / "job.json"),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TORCH_CPP_LOG_LEVEL": "ERROR"}
    environment.pop("_KFP_RUNTIME", None)
    last: deque[str] = deque(maxlen=400)
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last.append(line.rstrip())
    if process.returncode:
        raise _failure(worker, [_RANK.sub("", line) for line in last])


def _failure(worker: str, lines: list[str]) -> TrainingError:
    """The worker's own refusal if there is one; else exit codes and its last error, not torchrun's report of it."""
    for at in reversed(range(len(lines))):
        if found := _OWN.match(lines[at]):
            mend = lines[at + 1].strip().removeprefix("mend: ") if at + 1 < len(lines) else ""
            return TrainingError(found["headline"], mend)
    codes = sorted({found["code"] for line in lines if (found := _EXIT.search(line))})
    errors = [line for line in lines if _ERROR.match(line) and "ChildFailedError" not in line]
    return TrainingError(
        f"{worker} failed with exit code {', '.join(codes)}: {(errors or lines or ['no output'])[-1]}",
        "read the worker's lines above; out of memory (-9) needs a smaller size or batch, a killed worker a retry",
    )
