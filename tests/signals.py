"""Default signal handlers for tests that send signals, also if pytest runs under nohup or in the background."""

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def default_signals() -> Iterator[None]:
    """Handle SIGINT and SIGHUP as a new process does; under nohup, a process and its children ignore them."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handled in before.items():
        signal.signal(number, handled)
