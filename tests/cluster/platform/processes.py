"""The platform's processes: each ends with the supervisor that started it, however that ends."""

import ctypes
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def die_with_parent(parent: int) -> Callable[[], None]:
    """Return what a new process calls to be killed by the kernel when `parent` ends."""

    def prepare() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # 0: the parent is outside of this process's namespace.
        if os.getppid() not in (parent, 0):
            os._exit(1)

    return prepare


class Failed(RuntimeError):
    """A part of the platform did not start, or ended; the message has the end of its log."""


class Processes:
    """Programs that run until `stop`.

    Args:
        logs: Folder with a log of each program.
    """

    def __init__(self, logs: Path):
        self._logs, self._running = logs, dict[str, subprocess.Popen[bytes]]()
        logs.mkdir(parents=True, exist_ok=True)

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        environment: dict[str, str] | None = None,
        root: Path | None = None,
    ) -> None:
        """Start a program.

        Args:
            name: Of its log.
            command: Program and arguments.
            environment: Variables beside PATH and HOME.
            root: Folder that the program sees as its root; None: the machine's.
        """
        die = die_with_parent(os.getpid())

        def prepare() -> None:
            die()
            if root:
                os.chroot(root)
                os.chdir("/")

        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        with (self._logs / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**kept, **(environment or {})}, preexec_fn=prepare, start_new_session=True,
            )  # fmt: skip

    def wait(self, name: str, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait until a program does what it should.

        Raises:
            Failed: it ended, or took longer.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                raise Failed(f"{name} was not up within {seconds:.0f} s: {self.log(name)}")
            time.sleep(0.1)

    def check(self) -> None:
        """Look whether all programs run.

        Raises:
            Failed: one has ended.
        """
        for name, process in self._running.items():
            if process.poll() is not None:
                raise Failed(f"{name} ended with {process.returncode}: {self.log(name)}")

    def log(self, name: str, characters: int = 1500) -> str:
        """The end of a program's log."""
        return (self._logs / f"{name}.log").read_text(errors="replace")[-characters:]

    def pids(self) -> dict[str, int]:
        """Process id of each program."""
        return {name: process.pid for name, process in self._running.items()}

    def stop(self) -> None:
        """End all programs, the last started first."""
        for process in reversed(self._running.values()):
            process.terminate()
        deadline = time.monotonic() + 5
        for process in self._running.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def answers(url: str) -> bool:
    """Whether an HTTP server on the node answers 200; certificates are not checked."""
    import ssl

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(url, timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False
