"""`shoprank serve` and the demo's questions, told to stop: the predictor does not stay."""

import signal
import subprocess
import sys
import time

import httpx
import psutil
import pytest

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
"""The demo after its training, whose first question is never answered."""


def stopped(process: subprocess.Popen, number: signal.Signals) -> int:
    """The exit code after a signal to that process alone; what it started is gone."""
    below = psutil.Process(process.pid).children(recursive=True)
    assert below
    process.send_signal(number)
    try:
        code = process.wait(15)
        assert psutil.wait_procs(below, timeout=1)[1] == []
        return code
    finally:
        for left in psutil.wait_procs(below, timeout=0)[1]:
            left.kill()
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_serve_ends_with_its_predictor(demo, number):
    port = free_port()
    words = ["serve", str(demo.out), "--clock", "bundle", "--port", str(port), "--grpc-port", str(free_port())]
    with subprocess.Popen([sys.executable, "-c", MAIN, *words]) as process, httpx.Client(trust_env=False) as client:
        limit = time.monotonic() + 120
        while True:
            assert process.poll() is None and time.monotonic() < limit
            try:
                if client.get(f"http://127.0.0.1:{port}/v2/models/shoprank/ready").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        assert stopped(process, number) == 0


def test_the_demo_ends_with_the_predictor_that_it_asks(demo):
    with subprocess.Popen([sys.executable, "-c", ASKING, "demo", "--out", str(demo.out)]) as process:
        limit = time.monotonic() + 120
        while not psutil.Process(process.pid).children():
            assert process.poll() is None and time.monotonic() < limit
            time.sleep(0.1)
        assert stopped(process, signal.SIGTERM) == 128 + signal.SIGTERM
