"""Builds the four images from the checkout with an engine."""

import contextlib
import functools
import http.server
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.shared.images import DATA_IMAGE, PREDICTOR_IMAGE, SERVE_IMAGE, TRAIN_IMAGE
from tests.containers.engine import Engine

ROOT = Path(__file__).parents[2]

_WHEELS_PORT = 18497
"""Fixed, because the address is part of a layer's cache key."""

IMAGES = {
    DATA_IMAGE: ("components/Dockerfile", "data"),
    TRAIN_IMAGE: ("components/Dockerfile", "train"),
    SERVE_IMAGE: ("serving/Dockerfile", "prove"),
    PREDICTOR_IMAGE: ("serving/Dockerfile", "predictor"),
}
"""(Dockerfile, target) of every image."""


@dataclass(frozen=True)
class Built:
    """An image and what it took: seconds to build, bytes with all layers."""

    name: str
    seconds: float
    bytes: int


def build_all(engine: Engine) -> list[Built]:
    """Build every image under the name that the pipelines use."""
    with _wheels() as find_links:
        return [_build(engine, name, *source, find_links) for name, source in IMAGES.items()]


def _build(engine: Engine, name: str, dockerfile: str, target: str, find_links: str) -> Built:
    started = time.monotonic()
    arguments = ["--build-arg", f"PIP_FIND_LINKS={find_links}"] if find_links and target != "data" else []
    engine.run(
        "build", "--network", "host", "--file", str(ROOT / dockerfile), "--target", target, "--tag", name, *arguments,
        str(ROOT), timeout=2400,
    )  # fmt: skip
    size = int(engine.run("image", "inspect", "--format", "{{.Size}}", name).stdout)
    return Built(name, time.monotonic() - started, size)


@contextlib.contextmanager
def _wheels() -> Iterator[str]:
    """Address of this machine's folder of wheels (such as torch without CUDA), or '' when pip names none."""
    command = [sys.executable, "-m", "pip", "config", "get", "global.find-links"]
    folder = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    if not folder or not Path(folder).is_dir():
        yield ""
        return
    handler = functools.partial(_Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", _WHEELS_PORT), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{_WHEELS_PORT}/"
        finally:
            server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Do not log requests."""
