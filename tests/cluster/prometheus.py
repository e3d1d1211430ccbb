"""A real Prometheus 2 (from Debian) that scrapes predictors on loopback; the platform runs version 3."""

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

from components.shared.tests.waiting import eventually


@contextlib.contextmanager
def scraping(folder: Path, targets: list[str], every: str = "1s") -> Iterator[tuple[str, Path]]:
    """Start Prometheus on `host:port` targets; yield its URL and the file of targets, which it rereads on changes."""
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
        # Prometheus finds its targets some seconds after it is ready.
        url = f"http://127.0.0.1:{port}"
        assert eventually(lambda: len(scrapes(url, "up == 1")) >= len(targets)), (
            folder / "prometheus.log"
        ).read_text()[-2000:]
        yield url, listed
    finally:
        process.terminate()
        process.wait(60)


def scrapes(url: str, which: str = "up") -> dict[str, float]:
    """Time of the last scrape by target; `which` filters the targets."""
    with contextlib.suppress(httpx.TransportError), httpx.Client(trust_env=False, timeout=30) as client:
        found = client.get(f"{url}/api/v1/query", params={"query": f"timestamp(up) and {which}"})
        if found.status_code == 200:
            result = found.json()["data"]["result"]
            return {one["metric"]["instance"]: float(one["value"][1]) for one in result}
    return {}


def scraped(url: str, targets: int = 1) -> None:
    """Wait until all targets, at least that many, were scraped after this call and so include all earlier requests."""
    now = time.time()

    def fresh() -> bool:
        found = scrapes(url)
        return len(found) >= targets and min(found.values()) > now

    assert eventually(fresh), "Prometheus scrapes no more"
