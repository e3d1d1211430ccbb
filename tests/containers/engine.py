"""A Docker engine only for the tests: own data, own socket, no bridge; it ends and is removed with them."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

KEEP = "SHOPRANK_DOCKER_DATA"
"""Environment variable naming a folder that keeps images between runs, for people who work on the Dockerfiles."""


class EngineMissing(Exception):
    """No engine can be started here; the message gives the reason."""


class DockerFailed(Exception):
    """A docker command failed; the message contains its last lines."""


@dataclass(frozen=True)
class Engine:
    """A running engine.

    Attributes:
        host: value for DOCKER_HOST. client: the docker program. own: whether these tests started it.
    """

    host: str
    client: str
    own: bool

    @property
    def environment(self) -> dict[str, str]:
        """For child processes that talk to this engine."""
        return {**os.environ, "DOCKER_HOST": self.host, "DOCKER_BUILDKIT": "1"}

    def run(self, *arguments: str, check: bool = True, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run `docker arguments` and return the completed process."""
        done = subprocess.run(
            [self.client, *arguments], env=self.environment, capture_output=True, text=True, timeout=timeout,
            check=False,
        )  # fmt: skip
        if check and done.returncode:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
            raise DockerFailed(f"docker {' '.join(arguments)[:300]} ended with {done.returncode}:\n{tail}")
        return done

    def has(self, image: str) -> bool:
        """Whether the engine has the image."""
        return self.run("image", "inspect", image, check=False).returncode == 0


@contextlib.contextmanager
def engine() -> Iterator[Engine]:
    """The engine that DOCKER_HOST names, else one that is started here.

    Raises:
        EngineMissing: neither is available.
    """
    # docker.io's own client: another one on the PATH may lack BuildKit.
    client = "/usr/bin/docker" if Path("/usr/bin/docker").exists() else shutil.which("docker")
    if client is None:
        raise EngineMissing("there is no docker client (Debian: docker.io)")
    if "DOCKER_HOST" in os.environ:
        found = Engine(os.environ["DOCKER_HOST"], client, own=False)
        if found.run("info", check=False).returncode:
            raise EngineMissing(f"no engine answers at DOCKER_HOST={found.host}")
        yield found
        return
    if os.getuid() != 0:
        raise EngineMissing("dockerd needs root; or set DOCKER_HOST to use an engine that runs already")
    if shutil.which("dockerd") is None:
        raise EngineMissing("dockerd is not installed (Debian: docker.io)")
    # A short path: a socket's name may have 108 characters.
    with tempfile.TemporaryDirectory(prefix="sr-", dir="/tmp") as folder:
        yield from _started(client, Path(folder))


def _started(client: str, folder: Path) -> Iterator[Engine]:
    found = Engine(f"unix://{folder / 'docker.sock'}", client, own=True)
    data = Path(os.environ.get(KEEP, folder / "data"))
    command = [
        "dockerd", "--data-root", str(data), "--exec-root", str(folder / "exec"), "-H", found.host,
        "--pidfile", str(folder / "dockerd.pid"), "--bridge=none", "--iptables=false",
    ]  # fmt: skip
    log = folder / "dockerd.log"
    with log.open("wb") as stream:
        daemon = subprocess.Popen(
            command, stdout=stream, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
        )
        try:
            _wait(found, daemon, log)
            yield found
        finally:
            _end(found, daemon)


def _wait(found: Engine, daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while found.run("info", check=False).returncode:
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise EngineMissing(f"dockerd does not start here: {' | '.join(log.read_text().splitlines()[-3:])}")
        time.sleep(0.3)


def _end(found: Engine, daemon: subprocess.Popen[bytes]) -> None:
    if daemon.poll() is not None:
        return
    containers = found.run("ps", "--all", "--quiet", check=False).stdout.split()
    if containers:
        found.run("rm", "--force", *containers, check=False)
    daemon.terminate()
    try:
        daemon.wait(60)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
