"""What the journeys share: one run of the demo, as the README's first command makes it, at size tiny."""

import fcntl
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.journeys.journey import Journey

EARLY = ("tests/journeys/test_demo.py", "tests/cluster/", "tests/journeys/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files: while the demo trains, tests that mostly wait for a cluster run; its other users come later."""
    items.sort(key=lambda item: [*map(item.nodeid.startswith, EARLY), True].index(True))


@dataclass(frozen=True)
class Demo:
    """Attributes: out: its output folder, not to be changed. printed: what the command printed."""

    out: Path
    printed: str

    def copy(self, to: Path) -> Path:
        """The output folder as `to`/out."""
        shutil.copytree(self.out, to / "out", symlinks=True)
        return to / "out"


@pytest.fixture(scope="session")
def demo(tmp_path_factory, request) -> Demo:
    """`make demo` at size tiny; processes of pytest-xdist share one run."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if hasattr(request.config, "workerinput") else base) / "readme-demo"
    folder.mkdir(exist_ok=True)
    with (folder.parent / "readme-demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        printed = folder / "printed.txt"
        if not printed.exists():
            # The environment exists, so nothing is installed; the size tiny takes a minute.
            tiny = f"make -o .venv/ready demo SIZE=tiny BIN={Path(sys.executable).parent}"
            with Journey("demo", folder, {"make demo": tiny}) as journey:
                printed.write_text(journey.run("README.md#two-commands:sh"), encoding="utf-8")
    return Demo(folder / "out", printed.read_text(encoding="utf-8"))
