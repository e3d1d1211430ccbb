"""Launcher that runs a worker module under torchrun in this pod."""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from components.shared.cgroup import usable_cpus
from components.shared.storage import write_json
from components.shared.training.launch import KEPT_MEMORY, LaunchConfig, WorkerTask, failure

PROGRAM = (sys.executable, "-m", "torch.distributed.run")
"""Command that starts torchrun."""


@dataclass(frozen=True)
class Torchrun:
    """Launches worker processes of this pod; a failed group is restarted from the last complete checkpoint."""

    config: LaunchConfig
    """Number of processes, threads and restarts."""
    watch: Callable[[str], None] | None = None
    """Called with every line of output; an exception stops the workers and is re-raised."""

    def run(self, task: WorkerTask, work: Path) -> None:
        """Train in `work`, which keeps checkpoints; the workers' output is passed through.

        Raises:
            TrainingError: the group failed more than `max_restarts` times; includes the worker's last output.
        """
        config = self.config
        folders = {name: str(inputs.folder) for name, inputs in task.inputs.items()}
        write_json(work / "job.json", {**task.settings, **folders, "folder": str(work)})
        threads = config.threads or max(1, usable_cpus() // config.processes)
        command = [
            *PROGRAM, "--standalone", "--local-addr=127.0.0.1",
            f"--nproc-per-node={config.processes}",
            f"--max-restarts={config.max_restarts}", "--monitor-interval=0.2", "-m", task.module, "--job",
            str(work / "job.json"),
        ]  # fmt: skip
        environment = {**KEPT_MEMORY, **os.environ, "OMP_NUM_THREADS": str(threads), "TORCH_CPP_LOG_LEVEL": "ERROR"}
        environment.pop("_KFP_RUNTIME", None)
        last: deque[str] = deque(maxlen=400)
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    print(line, end="", flush=True)
                    last.append(line)
                    if self.watch:
                        self.watch(line)
            except BaseException:
                # torchrun first stops its workers; their remaining output is read so that it does not block.
                process.terminate()
                process.communicate()
                raise
        if process.returncode:
            raise failure(task.module, last)
