"""Generated parts of the README: each lies between `<!-- NAME -->` and `<!-- /NAME -->` and is written by a command."""

import os
import platform
import subprocess
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
    """Command, commit, hardware and date of a measurement."""
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    return (
        f"`{command}`, commit {commit.stdout.strip() or 'unknown'}, {os.cpu_count()} cores of {model}, "
        f"{memory:.0f} GB, no GPU, {datetime.now(UTC):%Y-%m-%d}"
    )
