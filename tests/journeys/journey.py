"""Executes the blocks of the READMEs as a reader would: in one folder, one after the other, against a real server."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.journeys.blocks import ROOT, Block, blocks
from tests.journeys.claims import JOURNEYS
from tests.ports import free_port

TIMEOUT_S = 600
_SERVERS = ("shoprank serve", "python -m serving")


class Journey:
    """A folder that looks like a checkout, in which the blocks of one journey are executed.

    The port 8080 of the READMEs is replaced by a free one, so that journeys can run side by side.

    Args:
        name: Key of JOURNEYS; another one has no blocks.
        folder: Empty; commands run here, so that `out` lies here too.
        shorter: Command of a README -> replacement with less work, for commands that take minutes.
    """

    def __init__(self, name: str, folder: Path, shorter: dict[str, str] | None = None):
        self.folder, self.port = folder, free_port()
        self._left, self._shorter = list(JOURNEYS.get(name, ())), shorter or {}
        self._server: subprocess.Popen[bytes] | None = None
        for entry in ("Makefile", "components", "pipelines", "serving", "manifests", "tests", "pyproject.toml"):
            (folder / entry).symlink_to(ROOT / entry)
        self._programs = folder / ".programs"
        self._programs.mkdir()
        _program(self._programs / "python", f'exec {sys.executable} "$@"')
        command = f'exec {sys.executable} -c "from pipelines.cli.app import main; main()" "$@"'
        _program(
            self._programs / "shoprank", f'[ "$1" = ask ] && set -- "$@" --url http://127.0.0.1:{self.port}\n{command}'
        )

    def __enter__(self) -> "Journey":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.stop_serving()
        assert kind is not None or self._left == [], f"blocks of this journey that were not executed: {self._left}"

    def run(self, name: str) -> str:
        """Execute a block of this journey, and return what it printed; a command that fails ends the test."""
        self._left.remove(name)
        block = blocks()[name]
        if block.language == "python":
            (self.folder / "block.py").write_text(self._own_port(block.text), encoding="utf-8")
            return self.shell("python -W ignore block.py")
        return "".join(self._command(command) for command in block.commands())

    def write(self, name: str) -> Path:
        """Write a YAML or JSON block to the file that its first line names."""
        block: Block = blocks()[name]
        path = self.folder / block.file_name
        path.write_text(block.text, encoding="utf-8")
        return path

    def shell(self, command: str, code: int = 0) -> str:
        """Run one command line and return what it printed.

        Raises:
            AssertionError: it ended with another exit code.
        """
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=self._environment(), text=True, timeout=TIMEOUT_S,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{command}\nended with {done.returncode}:\n{done.stdout[-4000:]}"
        return done.stdout

    def readme(self, name: str) -> str:
        """The text of a README."""
        return (ROOT / name).read_text(encoding="utf-8")

    def stop_serving(self) -> None:
        """End the server, as Ctrl-C does."""
        if self._server is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._server.pid, signal.SIGTERM)
        self._server.wait(30)
        self._server = None

    def _command(self, command: str) -> str:
        command = self._own_port(self._shorter.get(command, command))
        if command.startswith(_SERVERS):
            self._serve(command.split(" #")[0])
            return ""
        return self.shell(command)

    def _own_port(self, text: str) -> str:
        return text.replace("localhost:8080", f"127.0.0.1:{self.port}")

    def _serve(self, command: str) -> None:
        self.stop_serving()
        ports = ("--port", "--grpc-port") if command.startswith("shoprank") else ("--http_port", "--grpc_port")
        words = [*shlex.split(command), ports[0], str(self.port), ports[1], str(free_port())]
        with (self.folder / "server.log").open("wb") as log:
            self._server = subprocess.Popen(
                words, executable=shutil.which(words[0], path=str(self._programs)), cwd=self.folder,
                env=self._environment(), stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 120
        with httpx.Client(trust_env=False, timeout=5) as client:
            while time.monotonic() < deadline and self._server.poll() is None:
                with contextlib.suppress(httpx.TransportError):
                    if client.get(f"http://127.0.0.1:{self.port}/v2/models/shoprank/ready").status_code == 200:
                        return
                time.sleep(0.2)
        raise AssertionError(f"{command} is not ready:\n{(self.folder / 'server.log').read_text()[-4000:]}")

    def _environment(self) -> dict[str, str]:
        own = {"PATH": f"{self._programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return {**os.environ, "NO_PROXY": "*", "no_proxy": "*", **own}


def same_shape(found: object, shown: object, where: str = "answer") -> None:
    """Compare keys and types of two JSON values, of lists only the first entries; null matches every type."""
    if found is None or shown is None:
        return
    if isinstance(found, int | float) and isinstance(shown, int | float):
        return
    assert type(found) is type(shown), f"{where}: {found!r} beside {shown!r}"
    if isinstance(found, dict) and isinstance(shown, dict):
        assert found.keys() == shown.keys(), where
        for key in found:
            same_shape(found[key], shown[key], f"{where}.{key}")
    if isinstance(found, list) and isinstance(shown, list) and found and shown:
        same_shape(found[0], shown[0], f"{where}[0]")


def _program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(0o755)
