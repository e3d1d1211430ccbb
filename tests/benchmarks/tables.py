"""Result tables of the benchmarks: one Markdown file each, with command, commit, hardware and date."""

import platform
import shutil
import subprocess
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from components.shared.cgroup import usable_cpus, usable_memory
from components.shared.storage import write_text


def write_table(folder: Path, name: str, text: str) -> None:
    """Write a measured table, with its provenance as the last line, to `folder`/`name`.md."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{name}.md", text.strip() + "\n")


def provenance(command: str) -> str:
    """Return command, commit, hardware and date of a measurement; uncommitted code changes are mentioned."""
    memory = usable_memory() / 2**30
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    commit = _told("git", "rev-parse", "--short=12", "HEAD") or "unknown"
    changed = _told("git", "status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)*.md")
    gpus = Counter(_told("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines())
    named = " and ".join(f"{count} {name.strip()}" for name, count in gpus.items())
    return (
        f"`{command}`, commit {commit}{' and changes' if changed else ''}, {usable_cpus()} cores of {model}, "
        f"{memory:.0f} GB, {named or 'no GPU'}, {datetime.now(UTC):%Y-%m-%d}"
    )


def _told(*command: str) -> str:
    """Return the output of a program; empty if it is missing or fails."""
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
