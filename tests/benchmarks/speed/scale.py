"""Streaming of large data sets: rows per second from Parquet to KeyedJaggedTensor, and the memory it takes.

`python -m tests.benchmarks.speed.scale --rows 50000000` generates rows in the format of build_features,
row group by row group, reads one epoch as a worker does, opens a batch in the middle of the next as a resumed run does,
and writes results/scale.md.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.build_features.build import ROWS
from components.shared.features.ragged import Ragged, offsets_of
from components.shared.features.spec import SparseFeature
from components.shared.storage import write_json
from tests.benchmarks.memory import peak_memory_mb
from tests.benchmarks.tables import provenance, write_table

_GROUP = 100_000
_LENGTHS = {"user": 1, "sequence": 6, "interest_category": 2, "interest_brand": 2, "query": 0}
"""Mean number of ids of each feature per row."""
_IDS = 1_000_000
BATCH = 8_192


def generate(path: Path, rows: int) -> None:
    """Write rows of random ids, using the memory of one row group."""
    with pq.ParquetWriter(path, ROWS, compression="zstd") as writer:
        for start in range(0, rows, _GROUP):
            random, count = np.random.default_rng([7, start]), min(_GROUP, rows - start)
            when = pa.array(np.arange(start, start + count))
            columns = [pa.array(random.integers(0, _IDS, count, np.int32)), when, when, _lists(random, count, 1)[0]]
            for mean in _LENGTHS.values():
                columns += _lists(random, count, mean)
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=ROWS))


def _lists(random: np.random.Generator, rows: int, mean: int) -> list[pa.Array]:
    """Return ids and weights of one feature: lists of 1 to 2 * mean - 1 ids with a skewed popularity."""
    lengths = random.integers(1, 2 * mean, rows) if mean else np.zeros(rows, np.int64)
    offsets = offsets_of(lengths)
    ids = (_IDS * random.random(offsets[-1]) ** 3).astype(np.int64)
    return list(Ragged.mean(offsets, ids).to_arrow())


def read(path: Path) -> dict[str, float]:
    """Read one epoch batch by batch as user features of a KeyedJaggedTensor, then one batch within another epoch."""
    from components.shared.features.rows import Rows
    from components.shared.models.batch import keyed_jagged
    from components.shared.training.stream import ParquetStream, StreamConfig

    features = tuple(SparseFeature(name=name, rows=_IDS, max_length=50) for name in _LENGTHS)
    columns = ["shopper", "timestamp", *(column for name in _LENGTHS for column in (name, f"{name}_weight")), "targets"]
    stream = ParquetStream(path, columns, StreamConfig(batch_size=BATCH), slice(0, BATCH))

    def tensor(epoch: int, step: int) -> int:
        table = stream.batch(epoch, step)
        ragged = {name: Ragged.from_arrow(*(table.column(f"{name}{end}").chunk(0) for end in ("", "_weight")))
                  for name in _LENGTHS}  # fmt: skip
        targets = Rows.targets_of(table.column("targets").chunk(0))
        return len(keyed_jagged(ragged, features).values()) + len(targets)

    before, started = peak_memory_mb(), time.monotonic()
    ids = sum(tensor(0, step) for step in range(stream.steps_per_epoch))
    seconds = time.monotonic() - started
    resumed = time.monotonic()
    tensor(1, stream.steps_per_epoch // 2)
    return {
        "rows": pq.read_metadata(path).num_rows, "read": stream.steps_per_epoch * BATCH, "ids": ids,
        "rows_per_second": stream.steps_per_epoch * BATCH / seconds, "resume_seconds": time.monotonic() - resumed,
        "file_gb": path.stat().st_size / 1e9, "memory_before_mb": before, "memory_mb": peak_memory_mb(),
    }  # fmt: skip


def main() -> None:
    """Generate rows, read them in a separate process, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000_000)
    parser.add_argument("--out", type=Path, default=Path("out/scale"))
    parser.add_argument("--read", type=Path, help="only read this file, and print the figures")
    parser.add_argument("--results", type=Path, default=Path("tests/benchmarks/speed/results"))
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(read(arguments.read)))
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"rows-{arguments.rows}.parquet"
    if not path.exists():
        generate(path.with_suffix(".partial"), arguments.rows)
        path.with_suffix(".partial").rename(path)
    command = [sys.executable, "-m", "tests.benchmarks.speed.scale", "--read", str(path)]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    found = json.loads(output.splitlines()[-1])
    write_json(arguments.out / "scale.json", found)
    held, before = found["memory_mb"] / 1e3, found["memory_before_mb"] / 1e3
    text = (
        f"{found['rows'] / 1e6:,.0f} million generated rows ({found['file_gb']:.1f} GB of Parquet), one epoch in "
        f"shuffled batches of {BATCH:,} to KeyedJaggedTensor: {found['rows_per_second']:,.0f} rows/s in one process, "
        f"at most {held:.2f} GB of memory ({before:.2f} GB before the first batch); a batch in the middle of the next "
        f"epoch after {found['resume_seconds']:.1f} s."
    )
    write_table(
        arguments.results,
        "scale",
        f"{text}\n\n{provenance(f'python -m tests.benchmarks.speed.scale --rows {arguments.rows}')}",
    )
    print(text)


if __name__ == "__main__":
    main()
