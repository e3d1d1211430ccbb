"""Worker of one measurement, started by the project's launcher, which is the same for every variant."""

import argparse
import math
import time
from pathlib import Path

import torch
import torch.distributed as dist

from components.shared.storage import read_json, write_json
from components.shared.training.group import Group, process_group, quiet_third_parties
from tests.benchmarks.memory import peak_memory_mb
from tests.benchmarks.throughput.measures import DLRM_MEASURES, SEQUENCE_MEASURES, Step, WorkerJob
from tests.benchmarks.throughput.profiling import profile


def clock(step: Step, job: WorkerJob, group: Group) -> tuple[float, int, list[object]]:
    """Return the seconds of the timed steps, their number, equal on all ranks, and their results."""
    step(0)
    _finish(group)
    started = time.perf_counter()
    for number in range(1, job.warm):
        step(number)
    _finish(group)
    one = (time.perf_counter() - started) / (job.warm - 1)
    count = torch.tensor(max(2, min(job.steps, math.ceil(job.seconds / one))), device=group.device)
    dist.all_reduce(count, dist.ReduceOp.MIN)
    started = time.perf_counter()
    given = [step(job.warm + number) for number in range(int(count))]
    _finish(group)
    dist.barrier()
    return time.perf_counter() - started, int(count), given


def _finish(group: Group) -> None:
    """Wait until a GPU has finished its queued work."""
    if group.device.type == "cuda":
        torch.cuda.synchronize(group.device)


def measure(job: WorkerJob, group: Group) -> dict[str, float | None]:
    """Return the figures of one variant over all ranks."""
    make = next(one for one in (*DLRM_MEASURES, *SEQUENCE_MEASURES) if one.__name__ == job.measure)
    ready = make(job, group)
    probe = _sum(ready.probe(), group) if ready.probe else None
    seconds, count, given = clock(ready.step, job, group)
    end = given[-1]
    last = _sum(float(end.detach()) / group.world, group) if isinstance(end, torch.Tensor) and probe else None
    gpu = torch.cuda.max_memory_allocated(group.device) / 1e6 if group.device.type == "cuda" else 0.0
    return {
        "samples_per_second": count * (ready.samples or job.batch) / seconds, "steps": count,
        "memory_mb": _sum(peak_memory_mb(), group), "gpu_memory_mb": _sum(gpu, group), "first_loss": probe,
        "last_loss": last, **ready.extra,
    }  # fmt: skip


def _sum(value: float, group: Group) -> float:
    total = torch.tensor(value, dtype=torch.float64, device=group.device)
    dist.all_reduce(total)
    return float(total)


def main() -> None:
    """Entry point of torchrun."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", required=True)
    job = WorkerJob(**read_json(Path(parser.parse_args().job)))
    quiet_third_parties()
    with process_group() as group:
        found = profile(job, group) if job.measure == "profile" else measure(job, group)
    if group.rank == 0:
        write_json(Path(job.folder) / "result.json", found)


if __name__ == "__main__":
    main()
