"""Training rows from Parquet in bounded memory: shuffled, sharded by worker, and any batch at once by its number.

    file -> row groups -> SHARDS shards (group g belongs to shard g % SHARDS, so any number of ranks shares them out)
    epoch: each shard takes its groups in a new order, WINDOW at a time, and permutes the rows of a window
    a global batch = rows / SHARDS of every shard, one after the other; a rank reads the shards of its slice alone

Which rows a batch holds follows from (seed, epoch, step): a resumed run opens its window and goes on, and one rank sees
what many see. Nothing loops over rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.errors import DataError, InputError


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """How a file is read."""

    batch_size: int
    """Rows of a global batch, over all ranks."""
    seed: int = 0
    """Of the orders."""
    shards: int = 8
    """Parts that ranks share out; must divide the batch, and the number of ranks must divide it. More ranks than this
    have one part each: what a batch holds then depends on their number."""
    window: int = 4
    """Row groups of a shard that are held and mixed at a time."""


@dataclass
class _Shard:
    """The groups of one shard and the window that is open now."""

    groups: np.ndarray
    rows: np.ndarray
    opened: tuple[int, int] = (-1, -1)
    table: pa.Table | None = None
    order: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


class ParquetStream:
    """Batches of one Parquet file.

    Args:
        path: The file, in at least as many row groups as there are shards.
        columns: To read.
        config: How.
        part: This rank's slice of a global batch.

    Raises:
        InputError: batch, shards and ranks do not divide each other.
        DataError: the file has too few row groups or rows.
    """

    def __init__(self, path: Path, columns: list[str], config: StreamConfig, part: slice):
        self._file, self._columns, self._config = pq.ParquetFile(path), columns, config
        rows = np.array([self._file.metadata.row_group(at).num_rows for at in range(self._file.num_row_groups)])
        shards = max(config.shards, config.batch_size // (part.stop - part.start))
        share = config.batch_size // shards
        if share * shards != config.batch_size or part.start % share or part.stop % share:
            raise InputError(
                f"a batch of {config.batch_size} rows in {shards} shards cannot be cut at {part.start} and {part.stop}",
                f"let {config.shards} divide the batch size, and take 1, 2, 4, 8 or more processes that divide it",
            )
        if len(rows) < shards:
            raise DataError(f"{path} has {len(rows)} row groups, fewer than {shards} shards",
                            "write it in smaller row groups, or read it whole")  # fmt: skip
        self._share = share
        self._shards = [
            _Shard(np.arange(at, len(rows), shards), rows[at::shards])
            for at in range(part.start // share, part.stop // share)
        ]
        self._first = part.start // share
        smallest = min(int(rows[at::shards].sum()) for at in range(shards))
        self.steps_per_epoch = smallest // share
        """Whole batches in an epoch; what the smallest shard holds decides."""
        if not self.steps_per_epoch:
            raise DataError(f"{path}: its smallest shard has {smallest} rows, a batch takes {share} of each",
                            "use smaller batches, or read it whole")  # fmt: skip

    def batch(self, epoch: int, step: int) -> pa.Table:
        """This rank's rows of one global batch, chunks combined."""
        parts = [self._rows_of(at, shard, epoch, step) for at, shard in enumerate(self._shards, self._first)]
        return pa.concat_tables(parts).combine_chunks()

    def _rows_of(self, name: int, shard: _Shard, epoch: int, step: int) -> pa.Table:
        """Rows [step * share, (step + 1) * share) of the shard's order; they may lie in two windows."""
        order = np.random.default_rng([self._config.seed, epoch, name]).permutation(len(shard.groups))
        ends = np.cumsum(shard.rows[order])
        window_ends = ends[np.r_[self._config.window - 1 : len(ends) : self._config.window, len(ends) - 1]]
        first, last, found = step * self._share, (step + 1) * self._share, []
        while first < last:
            window = int(np.searchsorted(window_ends, first, side="right"))
            begin = int(window_ends[window - 1]) if window else 0
            end = min(last, int(window_ends[window]))
            table, places = self._window(name, shard, order, (epoch, window))
            found.append(table.take(places[first - begin : end - begin]))
            first = end
        return pa.concat_tables(found)

    def _window(
        self, name: int, shard: _Shard, order: np.ndarray, which: tuple[int, int]
    ) -> tuple[pa.Table, np.ndarray]:
        if shard.opened != which or shard.table is None:
            shard.table = None  # before the next one is read: one window of a shard is held, never two
            at = which[1] * self._config.window
            groups = shard.groups[order[at : at + self._config.window]]
            table = self._file.read_row_groups(groups.tolist(), self._columns, use_threads=False).combine_chunks()
            random = np.random.default_rng([self._config.seed, which[0], name, 1 + which[1]])
            shard.table, shard.order, shard.opened = table, random.permutation(len(table)), which
        return shard.table, shard.order

    def column(self, name: str) -> Iterator[pa.Array]:
        """One column of the whole file, a row group at a time; for counts over all rows."""
        for at in range(self._file.num_row_groups):
            yield self._file.read_row_group(at, [name], use_threads=False).combine_chunks().column(0).chunk(0)
