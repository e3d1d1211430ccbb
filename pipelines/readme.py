"""Generated parts of the README: each lies between `<!-- NAME -->` and `<!-- /NAME -->` and is written by a command."""

import os
import platform
import shutil
import subprocess
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from components.shared.errors import InputError
from components.shared.storage import write_text


def replace_between(readme: Path, name: str, text: str) -> None:
    """Put `text` between the markers called `name`.

    Raises:
        InputError: the README has no such markers.
    """
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    whole = readme.read_text(encoding="utf-8")
    if start not in whole or end not in whole:
        raise InputError(f"{readme} has no part '{name}'", f"write {start} and {end} on lines of their own")
    before, rest = whole.split(start, 1)
    write_text(readme, f"{before}{start}\n{text.strip()}\n{end}{rest.split(end, 1)[1]}")


def provenance(command: str) -> str:
    """Command, commit, hardware and date of a measurement; a commit whose code was changed since is marked so."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    commit = _told("git", "rev-parse", "--short=12", "HEAD") or "unknown"
    changed = _told("git", "status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)README.md")
    gpus = Counter(_told("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines())
    named = " and ".join(f"{count} {name.strip()}" for name, count in gpus.items())
    return (
        f"`{command}`, commit {commit}{' and changes' if changed else ''}, {os.cpu_count()} cores of {model}, "
        f"{memory:.0f} GB, {named or 'no GPU'}, {datetime.now(UTC):%Y-%m-%d}"
    )


def _told(*command: str) -> str:
    """What a program says; nothing where it is absent or fails."""
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
