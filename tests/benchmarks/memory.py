"""Peak memory of the current process."""

from pathlib import Path


def peak_memory_mb() -> float:
    """Return the peak resident memory of this process in MB (VmHWM; getrusage would count the parent's, too)."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6
