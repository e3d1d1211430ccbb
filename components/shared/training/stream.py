"""Training rows from Parquet in bounded memory: shuffled, sharded by worker, with random access to batches.

    files -> row groups -> SHARDS shards (group g belongs to shard g % SHARDS, so that ranks can divide them)
    epoch: each shard reads its groups in a new order, WINDOW at a time, and permutes the rows of a window
    a global batch = batch size / SHARDS rows of every shard, concatenated; a rank only reads the shards of its slice

The rows of a batch are determined by (seed, epoch, step): a resumed run opens its window and continues, and batches do
not depend on the number of ranks. There is no loop over rows.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.errors import DataError, InputError


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """Options of reading files."""

    batch_size: int
    """Rows of a global batch, over all ranks."""
    seed: int = 0
    """Seed of the order."""
    shards: int = 8
    """Number of shards, divided among the ranks; must divide the batch size and be a multiple of the number of ranks.
    With more ranks, each has one shard, and batches depend on the number of ranks."""
    window: int = 4
    """Row groups of a shard that are held in memory and shuffled together."""


@dataclass
class _Shard:
    """The row groups of one shard, and the currently open window with shuffled rows."""

    groups: np.ndarray
    rows: np.ndarray
    opened: tuple[int, int] = (-1, -1)
    table: pa.Table | None = None


class ParquetStream:
    """Batches of a Parquet file, or of several as if they were one.

    Args:
        path: The file or files; in total at least as many row groups as shards.
        columns: Columns to read.
        config: Options of reading.
        part: This rank's slice of a global batch.

    Raises:
        InputError: batch, shards and ranks do not divide each other.
        DataError: there are too few row groups or rows, or a file has other columns than the first.
    """

    def __init__(self, path: Path | Sequence[Path], columns: list[str], config: StreamConfig, part: slice):
        paths = [path] if isinstance(path, Path) else path
        files, name = [pq.ParquetFile(path) for path in paths], ", ".join(map(str, paths))
        _check_alike(paths, files, columns)
        self._columns, self._config = columns, config
        self._groups = [(file, at) for file in files for at in range(file.num_row_groups)]
        rows = np.array([file.metadata.row_group(at).num_rows for file, at in self._groups])
        shards = max(config.shards, config.batch_size // (part.stop - part.start))
        share = config.batch_size // shards
        if share * shards != config.batch_size or part.start % share or part.stop % share:
            raise InputError(
                f"a batch of {config.batch_size} rows in {shards} shards cannot be cut at {part.start} and {part.stop}",
                f"use a batch size divisible by {config.shards}, and 1, 2, 4, 8 or more processes that divide it",
            )
        if len(rows) < shards:
            raise DataError(f"{name} has {len(rows)} row groups, fewer than {shards} shards",
                            "write it in smaller row groups, or load it into memory")  # fmt: skip
        self._share = share
        self._shards = [
            _Shard(np.arange(at, len(rows), shards), rows[at::shards])
            for at in range(part.start // share, part.stop // share)
        ]
        self._first = part.start // share
        smallest = min(int(rows[at::shards].sum()) for at in range(shards))
        self.steps_per_epoch = smallest // share
        """Number of whole batches per epoch, limited by the smallest shard."""
        if not self.steps_per_epoch:
            raise DataError(f"{name}: its smallest shard has {smallest} rows, a batch takes {share} of each",
                            "use smaller batches, or load it into memory")  # fmt: skip

    def batch(self, epoch: int, step: int) -> pa.Table:
        """Return this rank's rows of a global batch, chunks combined."""
        parts = [self._rows_of(at, shard, epoch, step) for at, shard in enumerate(self._shards, self._first)]
        return pa.concat_tables(parts).combine_chunks()

    def _rows_of(self, name: int, shard: _Shard, epoch: int, step: int) -> pa.Table:
        """Return rows [step * share, (step + 1) * share) of the shard's order, which may span two windows."""
        order = np.random.default_rng([self._config.seed, epoch, name]).permutation(len(shard.groups))
        ends = np.cumsum(shard.rows[order])
        window_ends = ends[np.r_[self._config.window - 1 : len(ends) : self._config.window, len(ends) - 1]]
        first, last, found = step * self._share, (step + 1) * self._share, []
        while first < last:
            window = int(np.searchsorted(window_ends, first, side="right"))
            begin = int(window_ends[window - 1]) if window else 0
            end = min(last, int(window_ends[window]))
            found.append(self._window(name, shard, order, (epoch, window)).slice(first - begin, end - first))
            first = end
        return pa.concat_tables(found)

    def _window(self, name: int, shard: _Shard, order: np.ndarray, which: tuple[int, int]) -> pa.Table:
        if shard.opened != which or shard.table is None:
            shard.table = None  # free it before reading the next one: only one window of a shard is in memory
            at = which[1] * self._config.window
            table = self._read(shard.groups[order[at : at + self._config.window]])
            random = np.random.default_rng([self._config.seed, which[0], name, 1 + which[1]])
            # Shuffled once and sliced for each batch: taking a few rows of many columns repeatedly is slower.
            shard.table, shard.opened = table.take(random.permutation(len(table))).combine_chunks(), which
        return shard.table

    def _read(self, groups: np.ndarray) -> pa.Table:
        """Read row groups in this order; consecutive groups of one file are read at once."""
        found = [
            file.read_row_groups([at for _, at in some], self._columns, use_threads=False)
            for file, some in itertools.groupby((self._groups[group] for group in groups), lambda group: group[0])
        ]
        return pa.concat_tables(found).combine_chunks()

    def column(self, name: str) -> Iterator[pa.Array]:
        """Yield one column of all files, a row group at a time; for counts over all rows."""
        for file, at in self._groups:
            yield file.read_row_group(at, [name], use_threads=False).combine_chunks().column(0).chunk(0)


def in_order(path: Path, rows: int, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """Yield all rows of a file in order, `rows` at a time, each column one chunk; one row group is held in memory.

    `ParquetFile.iter_batches` does the same, but its memory use grows with the file (pyarrow 26).
    """
    with pq.ParquetFile(path) as file:
        left = file.schema_arrow.empty_table().select(columns or file.schema_arrow.names)
        for at in range(file.num_row_groups):
            left = pa.concat_tables(
                [left, file.read_row_group(at, columns, use_threads=False).select(left.column_names)]
            )
            while len(left) >= rows:
                yield left[:rows].combine_chunks()
                left = left[rows:]
        if len(left):
            yield left.combine_chunks()


def _check_alike(paths: Sequence[Path], files: Sequence[pq.ParquetFile], columns: Sequence[str]) -> None:
    """Check before training that all files have the same columns, so that any rows can form a batch."""
    kinds = [{field.name: str(field.type) for field in file.schema_arrow if field.name in columns} for file in files]
    for path, kind in zip(paths, kinds, strict=True):
        differing = [
            f"{name} ({kinds[0].get(name, 'absent')} and {kind.get(name, 'absent')})"
            for name in columns if kinds[0].get(name) != kind.get(name)
        ]  # fmt: skip
        if differing:
            raise DataError(f"{paths[0]} and {path} differ in columns: {', '.join(differing)}",
                            "write all files with the same columns")  # fmt: skip
