"""Common parts of all launchers: tasks, settings, failure messages.

`process` (process.py) runs tasks in this pod, `trainjob` (cluster/train_launcher.py) on separate nodes.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from pydantic import model_validator

from components.shared.errors import InputError, TrainingError
from components.shared.options import Amount, Count, Options, refused
from components.shared.quantities import Cpu, Memory

_PREFIX = re.compile(r"^(?:\[node \d+\] )?(?:\[rank\d+\]: ?)?")
_OWN = re.compile(r"^components\.shared\.errors\.\w+: (?P<headline>.*)$")
_ERROR = re.compile(r"^[\w.]*(?:Error|Exception)\b")
_EXIT = re.compile(r"exitcode\s*: (?P<code>-?\d+)")

KEPT_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(4 * 2**30),
    "MALLOC_TRIM_THRESHOLD_": str(4 * 2**30),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}
"""Environment variables for glibc (mallopt(3)) to reuse freed memory for large tensors. By default each is mapped and
unmapped, and the kernel zeroes its pages again: 12 % of a DLRM step on CPU."""


@dataclass(frozen=True, kw_only=True)
class PodSettings:
    """Settings of a step's pod that its workers' pods inherit, as Kubernetes JSON (KFP's TaskConfig)."""

    resources: Mapping[str, Any] = field(default_factory=dict)
    """Resource requests and limits."""
    env: Sequence[Mapping[str, Any]] = ()
    """Environment variables."""
    volumes: Sequence[Mapping[str, Any]] = ()
    """Volumes of the pod."""
    volume_mounts: Sequence[Mapping[str, Any]] = ()
    """Volume mounts of the container."""
    tolerations: Sequence[Mapping[str, Any]] = ()
    """Taints it tolerates."""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    """Labels of the nodes it may run on."""
    affinity: Mapping[str, Any] = field(default_factory=dict)
    """Affinity to nodes and pods."""

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "PodSettings":
        """Create settings from the fields of a TaskConfig, which are None in a local run."""
        return cls(**{name: value for name, value in fields.items() if value})


class TrainingOptions(Options):
    """Options of the training of both models."""

    launch: Literal["process", "trainjob"] = "process"
    """`process`: torchrun in the step's pod. `trainjob`: a Kubeflow Trainer TrainJob of several nodes."""
    nodes: Count = 1
    """Number of nodes of a TrainJob."""
    processes: Count = 1
    """Worker processes per node; on GPU nodes one per GPU."""
    exchange: str = ""
    """Folder shared by the step and a TrainJob's nodes: a path on a volume, or s3://bucket/prefix."""
    node_gpus: Amount = 0
    """GPUs per node of a TrainJob; 0: as many as the step's pod has."""
    node_cpu: Cpu = "8"
    """CPU request and limit per node of a TrainJob; the step's own pod has the pipeline's parameter `cpu`."""
    node_memory: Memory = "32Gi"
    """Memory request and limit per node of a TrainJob; the step's own pod has the pipeline's parameter `memory`."""
    checkpoints: str = ""
    """Folder for checkpoints on a persistent volume, so that a retried step can resume; empty: not kept."""

    @model_validator(mode="after")
    def _nodes_go_with_trainjob(self) -> Self:
        if self.launch == "process" and self.nodes != 1:
            raise refused(f"nodes is {self.nodes} with launch=process", "use launch=trainjob, or nodes=1")
        return self


class LaunchConfig(TrainingOptions):
    """Training options with the settings of the step."""

    pod: PodSettings = PodSettings()
    """Settings that the nodes' pods inherit."""
    max_restarts: Amount = 3
    """Maximum restarts of `process` from the last complete checkpoint; those of a TrainJob are set in its runtime."""
    threads: Amount = 0
    """Threads of each worker (0: the CPUs that the step may use, divided by processes)."""

    @classmethod
    def of(cls, options: TrainingOptions, task_config: Any = None) -> "LaunchConfig":
        """Combine the options with the settings of the step's pod.

        Args:
            options: Section `training`.
            task_config: KFP's TaskConfig of the step, or None.
        """
        pod = PodSettings.of(vars(task_config)) if task_config is not None else PodSettings()
        return cls(**options.set_fields(), pod=pod)

    @property
    def workers(self) -> int:
        """Total number of worker processes."""
        return self.processes * self.nodes

    def checkpoint_folder(self, model: str) -> Path | None:
        """Return the folder of a model's persistent checkpoints, or None."""
        return Path(self.checkpoints) / model if self.checkpoints else None


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Files of one folder that workers read."""

    folder: Path
    """Folder of the files."""
    files: tuple[str, ...]
    """Names of the files in the folder."""


@dataclass(frozen=True, kw_only=True)
class WorkerTask:
    """A training run, independent of the launcher."""

    stage: str
    """Name in progress reports, such as train_retriever."""
    module: str
    """Worker module, started as `python -m module --job JOB` by torchrun."""
    digest: str
    """Digest of settings and inputs, which identifies the run for retries."""
    settings: Mapping[str, Any]
    """Fields of the worker's job as JSON values, without folders."""
    inputs: Mapping[str, Inputs]
    """Field of the worker's job that names a folder -> the files it reads there."""
    results: tuple[str, ...]
    """Result files in the job's `folder`."""


class Launcher(Protocol):
    """Runs training workers."""

    def run(self, task: WorkerTask, work: Path) -> None:
        """Train, and write the task's results to `work`.

        Raises:
            TrainingError: training failed; includes the worker's last output.
        """
        ...


def check_shares(batch: int, processes: int, unit: str, nodes: int = 1) -> None:
    """Check that the processes divide the global batch evenly.

    Raises:
        InputError: lists valid numbers of processes.
    """
    if processes < 1 or nodes < 1 or batch % (processes * nodes):
        fitting = [str(number) for number in range(1, batch + 1) if batch % number == 0]
        given = f"processes is {processes}" if nodes == 1 else f"processes * nodes is {processes} * {nodes}"
        raise InputError(
            f"{given}, which does not divide a batch of {batch} {unit}", f"use one of: {', '.join(fitting)}"
        )


def run_digest(settings: Mapping[str, Any], inputs: Sequence[Path]) -> str:
    """Return a digest of settings and files that identifies a run.

    A retried step finds its checkpoints by it; other data or settings give another digest.

    Args:
        settings: JSON values; the number of processes is left out, because a run may resume with another one.
        inputs: Files that determine the result; only their contents are used, not their names.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in inputs:
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


def failure(worker: str, output: Sequence[str]) -> TrainingError:
    """Return the error of failed workers: their own error with its fix, or exit codes and the last error in the output.

    Args:
        worker: Module name.
        output: Last lines printed by the workers and torchrun.
    """
    lines = [_PREFIX.sub("", line.rstrip()) for line in output]
    for at in reversed(range(len(lines))):
        if found := _OWN.match(lines[at]):
            fix = lines[at + 1].strip().removeprefix("fix: ") if at + 1 < len(lines) else ""
            return TrainingError(found["headline"], fix)
    codes = sorted({found["code"] for line in lines if (found := _EXIT.search(line))})
    errors = [line for line in lines if _ERROR.match(line) and "ChildFailedError" not in line]
    ended = f" with exit code {', '.join(codes)}" if codes else ""
    return TrainingError(
        f"{worker} failed{ended}: {(errors or lines or ['no output'])[-1]}",
        "read the worker's log above; exit code -9 means out of memory (use a smaller size or batch) or killed (retry)",
    )
