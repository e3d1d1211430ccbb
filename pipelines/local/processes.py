"""Finds and ends all processes of a run, across sessions, by an environment variable."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import psutil

MARK = "SHOPRANK_RUN_FOLDER"
"""Environment variable of every process of a run. torchrun starts workers in their own sessions, so they cannot
be found by process group nor, once torchrun has ended, by parent process."""


_ENDING = (signal.SIGTERM, signal.SIGHUP)
"""Signals that end a command besides Ctrl-C: from a process manager, or because the terminal was closed."""


class Terminated(BaseException):
    """A signal other than Ctrl-C: the command and all processes it started must end.

    Attributes:
        number: The signal's number.
    """

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def terminated_by_signal() -> Iterator[None]:
    """Raise Terminated on SIGTERM and SIGHUP while the body runs."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Terminated(number)

    with _handled(stop, *_ENDING):
        yield


@contextlib.contextmanager
def delayed_signals() -> Iterator[None]:
    """Delay signals until the body ends, so that a process it starts is always recorded."""
    came = []
    try:
        with _handled(lambda number, _frame: came.append(number), signal.SIGINT, *_ENDING):
            yield
    finally:
        for number in came:
            signal.raise_signal(number)


def run_until_stopped(command: list[str]) -> int:
    """Run a server until it ends; terminating signals are forwarded to it, so that it shuts down cleanly.

    Returns:
        Its exit code, or 128 plus the number of the signal that killed it.
    """
    process, stopped = None, False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        if process is not None:
            process.terminate()

    with _handled(stop, signal.SIGINT, *_ENDING):
        process = subprocess.Popen(command)
        if stopped:  # the signal came before the process was started
            process.terminate()
        code = process.wait()
    return code if code >= 0 else 128 - code


@contextlib.contextmanager
def _handled(handler: Callable[[int, FrameType | None], None], *numbers: signal.Signals) -> Iterator[None]:
    """Handle signals while the body runs, except those set to be ignored (such as by nohup).

    Has no effect outside the main thread, where Python allows no signal handlers.
    """
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in numbers if main}
    before = {number: handled for number, handled in before.items() if handled is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, handled in before.items():
            signal.signal(number, handled)


def of_run(folder: str) -> list[psutil.Process]:
    """Processes of the run in a folder, except this one."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(MARK) == folder:
                found.append(process)
    return found


def end_run(folder: str, patience_s: float = 10.0) -> None:
    """End every process of a run: SIGTERM first, so that torchrun ends its workers, then SIGKILL.

    Another Ctrl-C or SIGTERM meanwhile shortens the wait before SIGKILL.
    """
    limit = time.monotonic() + patience_s

    def skip_wait(_number: int, _frame: FrameType | None) -> None:
        nonlocal limit
        limit = time.monotonic()

    with _handled(skip_wait, signal.SIGINT, *_ENDING):
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
