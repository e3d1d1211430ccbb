"""How tests start torchrun and the predictor: forked from processes that have their imports, or as the product does."""

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.shared.training import process
from components.validate_serving import predictor

REAL = {process: process.PROGRAM, predictor: predictor.PROGRAM}
SERVERS = {process: "workers", predictor: "serving"}
"""Module that starts something -> name of its fork server."""


@pytest.fixture(scope="session", autouse=True)
def quick_starts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Workers and predictors are forked (fork_server.py): seconds of imports less at each of some hundred starts."""
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
    """Everything started within is started as the product does."""
    with pytest.MonkeyPatch.context() as patch:
        for module, program in REAL.items():
            patch.setattr(module, "PROGRAM", program)
        yield


@pytest.fixture
def real_processes() -> Iterator[None]:
    """See own_processes; for one test."""
    with own_processes():
        yield


def shared_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """A folder of the whole test session, which all processes of pytest-xdist see."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    return folder


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else of the test session is within, for the same path."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
