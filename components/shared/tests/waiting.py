"""Wait for a condition in tests, with a time limit that allows for a busy machine."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def eventually(found: Callable[[], Found], seconds: float = 60.0, poll_s: float = 0.1) -> Found:
    """Return the first truthy value, or the last value if none came in time."""
    deadline = time.monotonic() + seconds
    while not (value := found()) and time.monotonic() < deadline:
        time.sleep(poll_s)
    return value
