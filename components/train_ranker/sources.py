"""Sources of the ranker's pairs: held in memory, or streamed from Parquet if there are too many."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow.parquet as pq

from components.shared.features.spec import FeatureSpec
from components.shared.training.stream import ParquetStream, StreamConfig
from components.train_ranker.examples import MOST_PAIRS, SHOPPERS, PairRows, count_pairs

_SHARDS = 8
"""Number of file shards to divide among the ranks, if the batch size allows it."""


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """Options of the batches."""

    shoppers: int
    """Shoppers per global batch, over all ranks."""
    held_pairs: int
    """Maximum number of pairs held in memory; files with more are streamed."""
    seed: int
    """Seed of the shopper order."""

    def world(self, part: slice) -> int:
        """Return the number of ranks, given one rank's part of a global batch."""
        return self.shoppers // (part.stop - part.start)


class PairSource(Protocol):
    """Shoppers with all their pairs by epoch and step; the global batch does not depend on the number of ranks."""

    batch: int
    """Shoppers per global batch."""
    steps_per_epoch: int
    """Number of whole batches per epoch."""

    def pairs(self, epoch: int, step: int) -> PairRows:
        """Return this rank's shoppers of a global batch."""
        ...


class HeldPairs:
    """All pairs in memory, in a new order of shoppers each epoch; with too few shoppers the batch is smaller.

    Args:
        pairs: Pairs of at least as many shoppers as there are ranks.
        config: Batch size and seed.
        part: This rank's slice of a global batch of that size.
    """

    def __init__(self, pairs: PairRows, config: BatchConfig, part: slice):
        self._pairs, self._seed = pairs, config.seed
        self._order, self._epoch = np.zeros(0, np.int64), -1
        world, rank = config.world(part), part.start // (part.stop - part.start)
        self.batch = min(config.shoppers, len(pairs) // world * world)
        self.steps_per_epoch = len(pairs) // self.batch
        each = self.batch // world
        self._part = slice(rank * each, (rank + 1) * each)

    def order(self, epoch: int) -> np.ndarray:
        """Return the order of the shoppers in an epoch, int64, the same on every rank."""
        return np.random.default_rng([self._seed, epoch]).permutation(len(self._pairs))

    def pairs(self, epoch: int, step: int) -> PairRows:
        """See PairSource."""
        if epoch != self._epoch:  # cached: for a million shoppers it takes as long as a step
            self._order, self._epoch = self.order(epoch), epoch
        return self._pairs.take(self._order[step * self.batch : (step + 1) * self.batch][self._part])


class StreamedPairs:
    """Pairs of files that are never loaded as a whole; see shared/training/stream.py for their order.

    Any batch size that the ranks divide evenly works. If the number of ranks is not a power of two up to 8, the batches
    depend on it, and a run that resumes with another number of ranks sees another order.
    """

    def __init__(self, paths: Sequence[Path], spec: FeatureSpec, config: BatchConfig, part: slice):
        shards = math.lcm(math.gcd(_SHARDS, config.shoppers), config.world(part))
        stream = StreamConfig(batch_size=config.shoppers, seed=config.seed, shards=shards)
        columns = PairRows.columns(spec, pq.read_schema(paths[0]).names)
        self._stream, self._spec = ParquetStream(paths, columns, stream, part), spec
        self.batch, self.steps_per_epoch = config.shoppers, self._stream.steps_per_epoch

    def pairs(self, epoch: int, step: int) -> PairRows:
        """See PairSource."""
        return PairRows.from_table(self._stream.batch(epoch, step), self._spec)


def pair_source(paths: Sequence[Path], spec: FeatureSpec, config: BatchConfig, part: slice) -> PairSource:
    """Return pairs held in memory, or streamed if the files have more than `config.held_pairs` pairs.

    Args:
        paths: Pairs files of the training snapshots.
        spec: Spec of the features.
        config: Batch size, limit of held pairs and seed.
        part: This rank's slice of a global batch.

    Raises:
        DataError: the files have too few row groups to be streamed, or differ in their columns.
    """
    if _held(paths, config.held_pairs):
        return HeldPairs(PairRows.read(list(paths), spec), config, part)
    return StreamedPairs(paths, spec, config, part)


def _held(paths: Sequence[Path], held_pairs: int) -> bool:
    return count_pairs(paths) <= min(held_pairs, MOST_PAIRS)


class ValidationPairs:
    """Validation pairs in file order, `SHOPPERS` at a time; held in memory, or read again in every pass if too many."""

    def __init__(self, path: Path, spec: FeatureSpec, held_pairs: int):
        self._path, self._spec = path, spec
        self._held = PairRows.read([path], spec) if _held([path], held_pairs) else None

    def __iter__(self) -> Iterator[PairRows]:
        if self._held is None:
            yield from PairRows.parts(self._path, self._spec)
            return
        for start in range(0, len(self._held), SHOPPERS):
            yield self._held.take(np.arange(start, min(start + SHOPPERS, len(self._held))))
