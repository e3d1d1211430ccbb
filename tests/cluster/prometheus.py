"""A real Prometheus server that scrapes predictors on loopback; Debian's program."""

import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest


@contextlib.contextmanager
def scraping(folder: Path, targets: list[str], every: str = "1s") -> Iterator[tuple[str, Path]]:
    """Start it on `host:port` targets; yields its address and the file of targets, read again when it changes."""
    if shutil.which("prometheus") is None:
        pytest.skip("no prometheus (Debian: prometheus)")
    listed = folder / "targets.json"
    listed.write_text(json.dumps([{"targets": targets}]))
    (folder / "prometheus.yml").write_text(json.dumps({
        "global": {"scrape_interval": every, "scrape_timeout": every},
        "scrape_configs": [{"job_name": "predictors", "file_sd_configs": [
            {"files": [str(listed)], "refresh_interval": "1s"}]}],
    }))  # fmt: skip
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
               f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]  # fmt: skip
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 30
        with httpx.Client(trust_env=False) as client:
            while time.monotonic() < deadline:
                with contextlib.suppress(httpx.TransportError):
                    up = client.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": "up == 1"})
                    # It finds its targets some seconds after it is ready itself.
                    if up.status_code == 200 and len(up.json()["data"]["result"]) >= len(targets):
                        break
                time.sleep(0.1)
            else:
                raise AssertionError((folder / "prometheus.log").read_text()[-2000:])
        yield f"http://127.0.0.1:{port}", listed
    finally:
        process.terminate()
        process.wait(20)
