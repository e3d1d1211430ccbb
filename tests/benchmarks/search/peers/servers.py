"""Programs of other search engines: made once in a cache folder, started on 127.0.0.1, ended with the block."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

_START, _END = 120, 30
_SHOWN = 2_000


class PeerMissing(RuntimeError):
    """A search engine cannot be had on this machine; the text says why."""


def made(name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` of the cache; at the first time it is filled by `make`, in a folder of another name.

    Args:
        name: Changes with what is made. make: Fills the given folder.

    Raises:
        PeerMissing: from `make`.
    """
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "shoprank" / "peers" / name
    if folder.is_dir():
        return folder
    work = folder.with_name(f"{name}.{os.getpid()}")
    work.mkdir(parents=True)
    try:
        make(work)
        work.rename(folder)
    except OSError:
        # Another process was faster: its folder is as good.
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def told(command: Sequence[str], folder: Path) -> str:
    """The output of a program that is run to make a peer.

    Raises:
        PeerMissing: there is no such program, or it fails.
    """
    if not shutil.which(command[0]):
        raise PeerMissing(f"there is no program {command[0]}")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerMissing(f"{' '.join(command[:4])} failed: {(done.stderr or done.stdout)[-_SHOWN:].strip()}")
    return done.stdout


class Server:
    """A started server and one HTTP connection to it.

    Attributes:
        http: The connection; an answer other than 2xx is an error of `asked`.
    """

    def __init__(self, process: subprocess.Popen[bytes], http: httpx.Client, log: Path):
        self._process, self.http, self._log = process, http, log

    def asked(self, method: str, path: str, **options: object) -> httpx.Response:
        """Ask and check the status."""
        found = self.http.request(method, path, **options)  # pyright: ignore[reportArgumentType]
        if found.is_error:
            raise RuntimeError(f"{method} {path}: {found.status_code} {found.text[:_SHOWN]}")
        return found

    def wait(self, ready: Callable[[httpx.Client], bool]) -> None:
        """Wait until the server is ready: `ready` is true only for the process that was started here.

        Raises:
            RuntimeError: the process has ended, or is not ready in time.
        """
        until = time.monotonic() + _START
        while self._process.poll() is None and time.monotonic() < until:
            try:
                if ready(self.http):
                    return
            except (httpx.TransportError, ValueError):
                pass
            time.sleep(0.1)
        raise RuntimeError(f"the server did not start: {self._log.read_text(errors='replace')[-_SHOWN:]}")

    def memory_mb(self) -> float:
        """Resident memory of the process now."""
        return psutil.Process(self._process.pid).memory_info().rss / 1e6

    def floor_ms(self, path: str) -> float:
        """Median time of a request that searches nothing."""
        times = []
        for _ in range(200):
            started = time.perf_counter()
            self.asked("GET", path)
            times.append(time.perf_counter() - started)
        return sorted(times)[100] * 1_000


@contextmanager
def started(command: Sequence[str], port: int, headers: dict[str, str], folder: Path) -> Iterator[Server]:
    """Start a server; it is ended when the block is left.

    Args:
        command: Program and arguments; its standard input ends with this process. port: Of its HTTP interface.
        headers: Of each request. folder: For its log.
    """
    log = folder / "log"
    # Compressing a short answer costs more than it saves on one machine.
    headers = {**headers, "Accept-Encoding": "identity"}
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT) as process,
        # Settings of a proxy are not for this machine.
        httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60, trust_env=False) as http,
    ):
        try:
            yield Server(process, http, log)
        finally:
            process.terminate()
            try:
                process.wait(_END)
            except subprocess.TimeoutExpired:
                process.kill()
