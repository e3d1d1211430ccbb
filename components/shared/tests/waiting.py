"""Waiting in tests: for a condition, with a limit that a busy machine keeps too."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def eventually(found: Callable[[], Found], seconds: float = 60.0, poll_s: float = 0.1) -> Found:
    """The first truthy value, or the last value when none came in time."""
    deadline = time.monotonic() + seconds
    while not (value := found()) and time.monotonic() < deadline:
        time.sleep(poll_s)
    return value
