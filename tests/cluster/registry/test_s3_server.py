"""The S3 server of the tests ends with whoever started it, however that ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[3]


def test_server_ends_with_a_killed_test_run(s3_server, tmp_path):
    command = [sys.executable, "-m", "tests.cluster.registry.s3_server", str(tmp_path / "held")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as held:
        assert held.stdout is not None
        server, holder = map(int, held.stdout.readline().split())
        assert psutil.pid_exists(server) and server != s3_server.pid
        os.kill(holder, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while psutil.pid_exists(server) and psutil.Process(server).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"the server {server} lives on"
        time.sleep(0.1)
