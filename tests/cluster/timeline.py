"""What happened when in a journey: steps, marks, and the shoppers' answers in each second."""

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.cluster.compiled_steps import Step
from tests.cluster.rollout_shop import Shoppers

VARIABLE = "SHOPRANK_JOURNEY"
"""Environment variable that names the file to write."""


class Timeline:
    """A record in seconds since it was made."""

    def __init__(self):
        self._began = time.monotonic()
        self._steps: list[dict[str, Any]] = []
        self._marks: list[dict[str, Any]] = []
        self._requests: list[dict[str, Any]] = []

    def step(self, step: Step) -> None:
        """Add a step of a pipeline."""
        self._steps.append({"run": step.run, "step": step.name, "start": self._at(step.began),
                            "end": self._at(step.ended), "cached": step.cached})  # fmt: skip

    def mark(self, what: str, epoch: float | None = None) -> None:
        """Add something that happens now, or that happened at a time in epoch seconds."""
        ago = time.time() - epoch if epoch else 0.0
        self._marks.append({"what": what, "at": self._at(time.monotonic() - ago)})

    @contextlib.contextmanager
    def counting(self, shoppers: Shoppers) -> Iterator[None]:
        """Count the answers in each second, until the end of the context."""
        over = threading.Event()

        def count() -> None:
            before: dict[str, int] = {}
            while not over.wait(1):
                now = dict(shoppers.answers)
                new = {name: count - before.get(name, 0) for name, count in now.items()}
                before = now
                failed = sum(count for name, count in new.items() if name.startswith("failed"))
                answers = {name: count for name, count in new.items() if count and not name.startswith("failed")}
                self._requests.append({"at": self._at(time.monotonic()), "answers": answers, "failed": failed})

        thread = threading.Thread(target=count)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def write(self, versions: dict[str, str]) -> None:
        """Write the record to the file that SHOPRANK_JOURNEY names.

        Args:
            versions: What to call a version in a picture.
        """
        if path := os.environ.get(VARIABLE):
            record = {"versions": versions, "steps": self._steps, "marks": self._marks, "requests": self._requests}
            Path(path).write_text(json.dumps(record) + "\n")

    def _at(self, moment: float) -> float:
        return round(moment - self._began, 1)
