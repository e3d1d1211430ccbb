"""Generated click rows in the format of Criteo: categorical ids with a skewed popularity, numbers, a label.

Depends on numpy and pyarrow only, because the peers' environment reads the same file.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_EXPONENT = 1.05
_GROUP = 25_000
_SCATTER = 2_654_435_761
"""A prime that spreads popular ids over a table, as hashing does."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Shape of the rows and of the DLRM that reads them; the defaults are those of the reference measurement."""

    rows: int
    """Training rows; also the number of embedding rows of all tables together."""
    sparse: int = 26
    """Categorical features, with one table each."""
    dense: int = 13
    """Numeric features."""
    dim: int = 32
    """Width of embedding rows."""
    bottom: tuple[int, ...] = (512, 256)
    """Hidden widths of the MLP over the numeric features."""
    top: tuple[int, ...] = (512, 256)
    """Hidden widths of the MLP over the interactions."""

    @property
    def table_rows(self) -> int:
        """Embedding rows of each table."""
        return max(2, self.rows // self.sparse)

    @property
    def names(self) -> list[str]:
        """Categorical columns."""
        return [f"c{at}" for at in range(self.sparse)]

    @property
    def numbers(self) -> list[str]:
        """Numeric columns."""
        return [f"d{at}" for at in range(self.dense)]

    @property
    def columns(self) -> list[str]:
        """All columns, the label last."""
        return [*self.names, *self.numbers, "label"]

    @classmethod
    def of(cls, raw: dict) -> "Shape":
        """Create a shape from JSON values."""
        return cls(**{**raw, "bottom": tuple(raw["bottom"]), "top": tuple(raw["top"])})


def generate(path: Path, shape: Shape) -> None:
    """Write `shape.rows` rows, row group by row group, using the memory of one group."""
    group = min(_GROUP, max(1, shape.rows // 16))
    types = [pa.int32()] * shape.sparse + [pa.float32()] * shape.dense + [pa.float32()]
    schema = pa.schema(list(zip(shape.columns, types, strict=True)))
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, shape.rows, group):
            random, count = np.random.default_rng([11, start]), min(group, shape.rows - start)
            ids = [zipf(random.random(count), shape.table_rows) for _ in shape.names]
            numbers = random.standard_normal((shape.dense, count), np.float32)
            chance = 1 / (1 + np.exp(1.5 - numbers[0] - (ids[0] % 3 == 0)))
            label = (random.random(count) < chance).astype(np.float32)
            writer.write_batch(pa.record_batch([*map(pa.array, (*ids, *numbers, label))], schema=schema))


def zipf(uniform: np.ndarray, rows: int) -> np.ndarray:
    """Return int32 ids below `rows` with popularity rank ** -1.05, by the inverse of a bounded Pareto distribution."""
    power = 1 - _EXPONENT
    rank = ((rows + 1.0) ** power - 1) * uniform + 1
    at = np.minimum((rank ** (1 / power)).astype(np.int64) - 1, rows - 1)
    return (at * _SCATTER % rows).astype(np.int32)


def in_memory(path: Path, shape: Shape, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read the first rows of a file: ids int64 [rows, sparse], numbers float32 [rows, dense], labels float32 [rows]."""
    ids, numbers, labels, found = [], [], [], 0
    file = pq.ParquetFile(path)
    for batch in file.iter_batches(_GROUP, columns=shape.columns):
        part = batch.slice(0, rows - found)
        columns = [part.column(at).to_numpy() for at in range(part.num_columns)]
        ids.append(np.stack(columns[: shape.sparse], 1).astype(np.int64))
        numbers.append(np.stack(columns[shape.sparse : -1], 1))
        labels.append(columns[-1])
        found += len(part)
        if found >= rows:
            break
    return np.concatenate(ids), np.concatenate(numbers), np.concatenate(labels)
