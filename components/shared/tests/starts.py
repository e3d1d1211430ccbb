"""How tests start torchrun and the predictor: forked from preloaded processes, or as the product does."""

import contextlib
import fcntl
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.shared.training import process
from components.validate_serving import predictor

REAL = {process: process.PROGRAM, predictor: predictor.PROGRAM}
SERVERS = {process: "workers", predictor: "serving"}
"""Module that starts something -> name of its fork server."""

SEVERAL_RANKS = Path(tempfile.gettempdir(), f"shoprank-tests-several-ranks-{os.getuid()}.lock")
"""Lock of this machine: two trainings with several ranks on two cores slow each other down. See fork_client.py."""


@pytest.fixture(scope="session", autouse=True)
def quick_starts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fork workers and predictors (fork_server.py), which saves seconds of imports at each of hundreds of starts."""
    client = Path(__file__).with_name("fork_client.py")
    with pytest.MonkeyPatch.context() as patch:
        for module, name in SERVERS.items():
            folder = tmp_path_factory.getbasetemp() / name
            folder.mkdir(exist_ok=True)
            words = (sys.executable, "-IS", str(client), str(folder), str(os.getpid()))
            patch.setattr(module, "PROGRAM", (*words, REAL[module][-1]))
        yield


@contextlib.contextmanager
def own_processes() -> Iterator[None]:
    """Start processes as the product does, without the fork server; no other training with several ranks runs."""
    with locked(SEVERAL_RANKS), pytest.MonkeyPatch.context() as patch:
        for module, program in REAL.items():
            patch.setattr(module, "PROGRAM", program)
        yield


@pytest.fixture
def real_processes() -> Iterator[None]:
    """`own_processes` for the duration of one test."""
    with own_processes():
        yield


def shared_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """Return a folder that all pytest-xdist processes of the test session share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    return folder


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the path, across all processes of the test session."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
