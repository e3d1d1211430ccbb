"""CPUs and memory that this process may use: its CPU affinity and the limits of its cgroups, versions 1 and 2 (Linux).

Container limits are cgroup limits. Libraries that count the machine's processors instead start too many threads,
which the kernel then throttles. Source: cgroups(7), proc_pid_mountinfo(5).
"""

import math
import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path

_PROC = Path("/proc/self")


def usable_cpus(proc: Path = _PROC, affinity: int | None = None) -> int:
    """CPUs that this process may use, at least 1: the smallest limit, rounded up.

    Args:
        proc: The process's folder in procfs; its `cgroup` and `mountinfo` are read.
        affinity: Number of CPUs in the process's affinity mask; None: from the kernel.
    """
    allowed = len(os.sched_getaffinity(0)) if affinity is None else affinity
    return max(1, min([allowed, *map(math.ceil, _cpu_limits(proc))]))


def usable_memory(proc: Path = _PROC, installed: int | None = None) -> int:
    """Bytes of memory that this process and those in its cgroup may use together.

    Args:
        proc: See usable_cpus.
        installed: Memory of the machine in bytes; None: from the kernel.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if installed is None else installed
    limits = [*_values(proc, "", "memory.max"), *_values(proc, "memory", "memory.limit_in_bytes")]
    return min([machine, *(int(limit) for limit in limits if limit.isdigit())])


def limit_threads(
    environment: MutableMapping[str, str] = os.environ, proc: Path = _PROC, affinity: int | None = None
) -> None:
    """Set OMP_NUM_THREADS if a cgroup allows fewer CPUs than the affinity and the variable is not set.

    torch, faiss, numpy's OpenBLAS and pyarrow read it when they are loaded; otherwise they only use the affinity.

    Args:
        environment: Environment to modify.
        proc: See usable_cpus.
        affinity: See usable_cpus.
    """
    allowed = len(os.sched_getaffinity(0)) if affinity is None else affinity
    if (usable := usable_cpus(proc, allowed)) < allowed:
        environment.setdefault("OMP_NUM_THREADS", str(usable))


def _cpu_limits(proc: Path) -> Iterator[float]:
    """CPU limits of the cgroup and its ancestors."""
    for text in _values(proc, "", "cpu.max"):
        quota, period = text.split()
        if quota != "max":
            yield int(quota) / int(period)
    quotas, periods = (_values(proc, "cpu", f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    yield from (int(quota) / int(period) for quota, period in zip(quotas, periods, strict=False) if int(quota) > 0)


def _values(proc: Path, controller: str, file: str) -> list[str]:
    """Contents of `file` in the process's cgroup and its ancestors, as far as visible in this mount namespace.

    Args:
        proc: See usable_cpus.
        controller: Controller of cgroup version 1; empty for version 2.
        file: Name of the file; cgroups without it are skipped.
    """
    mounted, own = _mount(proc, controller), _own_path(proc, controller)
    if mounted is None or own is None:
        return []
    root, folder = mounted
    # In a container without a cgroup namespace, both paths are host paths and the mount shows the container's part.
    below = own.relative_to(root) if own.is_relative_to(root) else Path()
    found = [folder / part / file for part in (below, *below.parents)]
    return [path.read_text(encoding="ascii").strip() for path in found if path.is_file()]


def _mount(proc: Path, controller: str) -> tuple[Path, Path] | None:
    """The mounted cgroup and its mount point; None if the hierarchy is not mounted."""
    for line in _lines(proc / "mountinfo"):
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if (kind == "cgroup2" and not controller) or (kind == "cgroup" and controller in options.split(",")):
            return Path(before.split()[3]), Path(before.split()[4])
    return None


def _own_path(proc: Path, controller: str) -> Path | None:
    """The process's cgroup in a hierarchy, such as /kubepods/pod1; None if it has none."""
    for line in _lines(proc / "cgroup"):
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):  # version 2 lists no controller
            return Path(path)
    return None


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
