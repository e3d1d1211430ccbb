"""Sources of training rows: held in memory, or streamed from Parquet if there are too many."""

from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow.parquet as pq

from components.shared.features.rows import RATINGS, Rows, log_q, target_mass
from components.shared.features.spec import FeatureSpec
from components.shared.training.stream import ParquetStream, StreamConfig
from components.train_retriever.config import SamplingConfig


class RowSource(Protocol):
    """Rows by epoch and step; the global batch does not depend on the number of ranks."""

    steps_per_epoch: int
    """Number of whole batches per epoch."""

    def rows(self, epoch: int, step: int) -> Rows:
        """Return this rank's rows of a global batch."""
        ...

    def log_q(self, items: int) -> np.ndarray:
        """Return the log of each item's probability of being drawn as a row's target, float32 [items]."""
        ...

    def counts(self, items: int) -> np.ndarray:
        """Return how often each item is a target, float64 [items]; the targets of a row together count as 1."""
        ...

    def mean_rating(self) -> float:
        """Return the mean of all ratings; the rows must have ratings."""
        ...


class HeldRows:
    """All rows in memory, in a new order each epoch; a split smaller than a batch is one batch with repeated rows.

    Args:
        rows: All training rows.
        config: Batch size and seed.
        part: This rank's slice of a global batch.
    """

    def __init__(self, rows: Rows, config: SamplingConfig, part: slice):
        self._rows, self._config, self._part = rows, config, part
        self._order, self._epoch = np.zeros(0, np.int64), -1
        self.steps_per_epoch = max(1, len(rows) // config.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """Return the order of the rows in an epoch, int64, the same on every rank."""
        order = np.random.default_rng([self._config.seed, epoch]).permutation(len(self._rows))
        return np.resize(order, max(len(order), self._config.batch_size))

    def rows(self, epoch: int, step: int) -> Rows:
        """See RowSource."""
        if epoch != self._epoch:
            self._order, self._epoch = self.order(epoch), epoch
        size = self._config.batch_size
        return self._rows.take(self._order[step * size : (step + 1) * size][self._part])

    def log_q(self, items: int) -> np.ndarray:
        """See RowSource."""
        return log_q(self.counts(items), len(self._rows))

    def counts(self, items: int) -> np.ndarray:
        """See RowSource."""
        return target_mass(self._rows.targets, items)

    def mean_rating(self) -> float:
        """See RowSource."""
        assert self._rows.rated is not None, "only rows with ratings are asked for their mean"
        return float(self._rows.rated.weights.mean(dtype=np.float64))


class StreamedRows:
    """Rows of a file that is never loaded as a whole; see shared/training/stream.py for their order."""

    def __init__(self, path: Path, spec: FeatureSpec, config: SamplingConfig, part: slice):
        stream = StreamConfig(batch_size=config.batch_size, seed=config.seed)
        columns = Rows.columns(spec, pq.read_schema(path).names)
        self._stream = ParquetStream(path, columns, stream, part)
        self._spec, self._path = spec, path
        self.steps_per_epoch = self._stream.steps_per_epoch

    def rows(self, epoch: int, step: int) -> Rows:
        """See RowSource."""
        return Rows.from_table(self._stream.batch(epoch, step), self._spec)

    def log_q(self, items: int) -> np.ndarray:
        """See RowSource."""
        return log_q(self.counts(items), pq.read_metadata(self._path).num_rows)

    def counts(self, items: int) -> np.ndarray:
        """See RowSource; one pass over the targets, a row group at a time."""
        mass = np.zeros(items)
        for targets in self._stream.column("targets"):
            mass += target_mass(Rows.targets_of(targets), items)
        return mass

    def mean_rating(self) -> float:
        """See RowSource; one pass over the ratings, a row group at a time."""
        total, count = 0.0, 0
        for ratings in self._stream.column(RATINGS):
            given = ratings.flatten().to_numpy()
            total, count = total + float(given.sum(dtype=np.float64)), count + len(given)
        return total / count


def row_source(path: Path, spec: FeatureSpec, config: SamplingConfig, part: slice) -> RowSource:
    """Return rows held in memory, or streamed if the file has more than `config.held_rows` rows.

    Raises:
        InputError: a streamed batch cannot be divided among the ranks.
        DataError: the file has too few row groups to be streamed.
    """
    if pq.read_metadata(path).num_rows > config.held_rows:
        return StreamedRows(path, spec, config, part)
    return HeldRows(Rows.read(path, spec), config, part)
