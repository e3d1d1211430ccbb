"""One engine, the four images, one run of the tiny pipeline in them: once per session, because it takes minutes."""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.shared.release.registry import Registry
from components.shared.release.signing import create_key
from tests.containers import base_image, building
from tests.containers.engine import EngineMissing, engine

REPORT: list[str] = []


def pytest_terminal_summary(terminalreporter):
    if REPORT:
        terminalreporter.section("containers")
        for line in REPORT:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def docker():
    """A running engine."""
    try:
        with engine() as found:
            yield found
    except EngineMissing as missing:
        pytest.skip(f"NO DOCKER ENGINE, images are not tested: {missing}")


@pytest.fixture(scope="session")
def images(docker):
    """The engine, with all images built in it."""
    started = time.monotonic()
    try:
        how = base_image.provide(docker)
    except EngineMissing as missing:
        pytest.skip(f"NO BASE IMAGE, images are not tested: {missing}")
    REPORT.append(f"{base_image.BASE}: {how}, {time.monotonic() - started:.0f} s")
    for built in building.build_all(docker):
        REPORT.append(f"{built.name}: built in {built.seconds:.0f} s, {built.bytes / 1e6:,.0f} MB")
    return docker


@dataclass(frozen=True)
class PipelineRun:
    """Result of the pipeline. Attributes: root: folder of all artifacts; code: exit code; log: its output."""

    root: Path
    code: int
    log: str

    @property
    def registry(self) -> Registry:
        return Registry(self.root / "registry")

    @property
    def public_key(self) -> Path:
        return self.root / "keys" / "signing.pem.pub"

    def artifact(self, task: str, name: str) -> Path:
        found = list(self.root.glob(f"*/**/{task}/{name}"))
        assert found, f"{task} left no {name}; the run's last words:\n{self.log[-6000:]}"
        return found[0]


@pytest.fixture(scope="session")
def pipeline(images):
    """The tiny training pipeline, run in the images."""
    with tempfile.TemporaryDirectory(prefix="shoprank-run-") as folder:
        root = Path(folder)
        # The steps are user 1000, whoever runs the tests; the runner mounts this folder, and only this one.
        root.chmod(0o777)
        key = root / "keys" / "signing.pem"
        create_key(key)
        key.chmod(0o644)
        arguments = {
            "size": "tiny", "registry": f"{root}/registry", "signing_key": str(key), "public_key": f"{key}.pub",
            "release": {"max_p99_ms": 2000.0},
        }  # fmt: skip
        with tempfile.NamedTemporaryFile("w", suffix=".json") as job:
            json.dump({"root": folder, "arguments": arguments}, job)
            job.flush()
            started = time.monotonic()
            done = subprocess.run(
                [sys.executable, str(Path(__file__).with_name("docker_run.py")), job.name], text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=1500, check=False, cwd=building.ROOT,
                env={**images.environment, "SHOPRANK_RETRIES": "0", "PYTHONPATH": os.fspath(building.ROOT)},
            )  # fmt: skip
        REPORT.append(f"tiny pipeline in the images: {time.monotonic() - started:.0f} s")
        yield PipelineRun(root, done.returncode, done.stdout)
