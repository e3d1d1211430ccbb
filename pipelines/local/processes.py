"""Every process of a run, whatever session it is in: marked by an environment variable, ended together."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from types import FrameType

import psutil

MARK = "SHOPRANK_RUN_FOLDER"
"""Environment variable of every process of a run. torchrun gives workers sessions of their own, so that neither a
process group nor, once torchrun is gone, a parent leads to them."""


class Terminated(BaseException):
    """SIGTERM: the command is to end, and everything that it started."""


@contextlib.contextmanager
def terminated_by_signal() -> Iterator[None]:
    """Raise Terminated on SIGTERM while the body runs."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def of_run(folder: str) -> list[psutil.Process]:
    """Processes of the run in a folder, this one left out."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(MARK) == folder:
                found.append(process)
    return found


def end_run(folder: str, patience_s: float = 10.0) -> None:
    """End every process of a run: SIGTERM first, so that torchrun closes its workers, SIGKILL for what stays."""
    limit = time.monotonic() + patience_s
    _send(of_run(folder), signal.SIGTERM)
    while (left := of_run(folder)) and time.monotonic() < limit:
        psutil.wait_procs(left, timeout=0.1)
    while left := of_run(folder):
        _send(left, signal.SIGKILL)
        psutil.wait_procs(left, timeout=1.0)


def _send(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)
