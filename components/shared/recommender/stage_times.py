"""Time of one request by stage, collected by the calls that answer it."""

import contextlib
import time
from collections.abc import Iterator


class StageTimes:
    """Seconds of each stage of one request; times of the same stage add up.

    Attributes:
        seconds: seconds by stage name.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body as `name`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
