"""`shoprank serve` and the requests of the demo end their predictor on a signal."""

import contextlib
import signal
import subprocess
import sys

import httpx
import psutil
import pytest

from components.shared.tests.waiting import eventually
from tests.ports import free_port
from tests.signals import default_signals  # noqa: F401

pytestmark = pytest.mark.slow

MAIN = "from pipelines.cli.app import main; main()"
ASKING = f"""
import time
from pipelines.cli import running
from pipelines.local import demo
running.train = lambda *_: None
demo.ask = lambda *_: time.sleep(600)
{MAIN}
"""
"""The demo after its training, whose first request is never answered."""


def exit_code_after(process: subprocess.Popen, number: signal.Signals) -> int:
    """Signal only this process, check that its children ended, and return its exit code."""
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(number)
    try:
        code = process.wait(60)
        assert psutil.wait_procs(children, timeout=10)[1] == []
        return code
    finally:
        for remaining in psutil.wait_procs(children, timeout=0)[1]:
            remaining.kill()
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_serve_ends_its_predictor_on_a_signal(demo, number):
    port = free_port()
    arguments = ["serve", str(demo.out), "--clock", "bundle", "--port", str(port), "--grpc-port", str(free_port())]
    with subprocess.Popen([sys.executable, "-c", MAIN, *arguments]) as process, httpx.Client(trust_env=False) as client:

        def ready() -> bool:
            assert process.poll() is None
            with contextlib.suppress(httpx.TransportError):
                return client.get(f"http://127.0.0.1:{port}/v2/models/shoprank/ready").status_code == 200
            return False

        assert eventually(ready, 120)
        assert exit_code_after(process, number) == 0


def test_demo_ends_its_predictor_on_a_signal(demo):
    with subprocess.Popen([sys.executable, "-c", ASKING, "demo", "--out", str(demo.out)]) as process:
        assert eventually(lambda: process.poll() is not None or psutil.Process(process.pid).children(), 120)
        assert process.poll() is None
        assert exit_code_after(process, signal.SIGTERM) == 128 + signal.SIGTERM
