"""Run small_worker.py under the product's own torchrun; for test_sharding.py and test_kills.py."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.training.launch import LaunchConfig, WorkerTask
from components.shared.training.process import Torchrun

ROWS = 1_000


def write_rows(path: Path) -> Path:
    """Write random rows of small_worker's features in 28 row groups; `short` has even ids, `long` ids below 200."""
    random = np.random.default_rng(0)
    label = random.integers(0, 2, ROWS)
    short = pa.array((2 * random.integers(0, 12, (ROWS, 1)) + 24 * label[:, None]).tolist(), pa.list_(pa.int32()))
    long = pa.array(
        [random.integers(0, 200, random.integers(0, 6)).tolist() for _ in range(ROWS)], pa.list_(pa.int32())
    )
    table = pa.table({"short": short, "long": long, "label": label.astype(np.int8)})
    pq.write_table(table, path, row_group_size=37)
    return path


def run_small_worker(
    folder: Path, processes: int, restarts: int = 0, watch: Callable[[str], None] | None = None, **settings
) -> None:
    """Run small_worker on newly written rows until it ends.

    Args:
        folder: Output folder to create, with a subfolder for each sharding type.
        processes: Number of ranks.
        restarts: Maximum number of restarts of the group.
        watch: Called with every line of output.
        settings: Fields of SmallJob except its paths.
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
