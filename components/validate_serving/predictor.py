"""Runs the predictor process on loopback ports and always stops it."""

import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx

from components.shared.errors import ServingError

PROGRAM = (sys.executable, "-m", "serving")
"""Command that starts the predictor."""
_LOG_LINES = 20


@dataclass(frozen=True, kw_only=True)
class PredictorConfig:
    """Options for starting the predictor."""

    public_key: Path | None = None
    """Public key file to verify the bundle; None verifies only the files and allows native code in the bundle."""
    name: str = "shoprank"
    """Model name in the URLs."""
    clock: str = "bundle"
    """'bundle' answers as of the end of the bundle's data, 'system' as of today; 'auto' chooses by the data's age."""
    threads: int | None = None
    """Maximum number of concurrent requests; None: the predictor's default."""
    startup_s: float = 120.0
    """Timeout for the model to become ready, in seconds."""
    http_port: int = 0
    """REST port; 0 selects a free port."""
    grpc_port: int = 0
    """gRPC port; 0 selects a free port."""
    further: tuple[str, ...] = ()
    """Further command-line arguments, such as --inference_log and its folder."""


@dataclass(frozen=True)
class Predictor:
    """A running predictor that is ready.

    Attributes:
        process: process of the predictor. url: address of its REST port. grpc_port: port of its V2 gRPC service.
        name: model name in the URLs. startup_s: seconds from start to ready. log: file with its output.
    """

    process: subprocess.Popen[bytes]
    url: str
    grpc_port: int
    name: str
    startup_s: float
    log: Path

    def peak_memory_mb(self) -> float:
        """Largest resident memory so far, in MB (VmHWM; Linux)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6

    def log_tail(self) -> str:
        """Return the last lines of the log."""
        return _tail(self.log)


@contextlib.contextmanager
def running(bundle: Path, config: PredictorConfig) -> Iterator[Predictor]:
    """Start `python -m serving` on `bundle`, wait until its model is ready, and stop it at the end.

    Raises:
        ServingError: it ended or was not ready in time; the message contains its last log lines.
    """
    http_port, grpc_port = config.http_port or _free_port(), config.grpc_port or _free_port()
    command = [
        *PROGRAM, "--model_dir", str(bundle.resolve()), "--model_name", config.name,
        "--http_port", str(http_port), "--grpc_port", str(grpc_port), "--clock", config.clock,
        *config.further,
    ]  # fmt: skip
    if config.threads is not None:
        command += ["--threads", str(config.threads)]
    if config.public_key is not None:
        command += ["--public_key", str(config.public_key.resolve())]
    else:
        command.append("--unsigned_code")
    with tempfile.TemporaryDirectory(prefix="predictor-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as stream:
            process = _start(command, stream)
            try:
                started = time.monotonic()
                _wait(process, f"http://127.0.0.1:{http_port}", config, log)
                took = time.monotonic() - started
                yield Predictor(process, f"http://127.0.0.1:{http_port}", grpc_port, config.name, took, log)
            finally:
                _stop(process)


def _start(command: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    # The serving package is beside components, installed or in a checkout, so -m finds it from there.
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=root)


def _wait(process: subprocess.Popen[bytes], url: str, config: PredictorConfig, log: Path) -> None:
    deadline = time.monotonic() + config.startup_s
    # Do not send loopback requests through proxies of the environment.
    with httpx.Client(trust_env=False, timeout=2.0) as client:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise ServingError(
                    f"the predictor ended with code {process.returncode} before it was ready",
                    f"fix the error in its log:\n{_tail(log)}",
                )
            with contextlib.suppress(httpx.TransportError):
                if client.get(f"{url}/v2/models/{config.name}/ready").status_code == 200:
                    return
            time.sleep(0.05)
    raise ServingError(
        f"the predictor was not ready within {config.startup_s:.0f} s",
        f"raise startup_s or check its log:\n{_tail(log)}",
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
