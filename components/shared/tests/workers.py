"""Launches small_worker.py under the product's own torchrun; for test_sharding.py and test_kills.py."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.training.launch import LaunchConfig, WorkerTask
from components.shared.training.process import Torchrun

ROWS = 1_000


def write_rows(path: Path) -> Path:
    """Random rows of small_worker's features in 28 groups; `short` uses even ids alone, `long` those below 200."""
    random = np.random.default_rng(0)
    label = random.integers(0, 2, ROWS)
    short = pa.array((2 * random.integers(0, 12, (ROWS, 1)) + 24 * label[:, None]).tolist(), pa.list_(pa.int32()))
    long = pa.array(
        [random.integers(0, 200, random.integers(0, 6)).tolist() for _ in range(ROWS)], pa.list_(pa.int32())
    )
    table = pa.table({"short": short, "long": long, "label": label.astype(np.int8)})
    pq.write_table(table, path, row_group_size=37)
    return path


def work(
    folder: Path, processes: int, restarts: int = 0, watch: Callable[[str], None] | None = None, **settings
) -> None:
    """Run small_worker over rows of its own until it ends.

    Args:
        folder: To make; each sharding type has its results below.
        processes: Ranks.
        restarts: How often the group may be restarted.
        watch: Gets every line of output.
        settings: Fields of SmallJob but for its paths.
    """
    folder.mkdir()
    settings["rows"] = str(write_rows(folder / "rows.parquet"))
    task = WorkerTask(
        stage="small",
        module="components.shared.tests.small_worker",
        digest="",
        settings=settings,
        inputs={},
        results=(),
    )
    Torchrun(LaunchConfig(processes=processes, threads=1, max_restarts=restarts), watch).run(task, folder)
