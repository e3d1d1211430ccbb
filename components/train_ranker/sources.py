"""Where the ranker's pairs come from: held in memory, or streamed from Parquet when there are too many to hold."""

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
"""Parts of the files that ranks share out, if the batch's size allows."""


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """How shoppers become batches."""

    shoppers: int
    """Of a global batch, over all ranks."""
    held_pairs: int
    """Files of more pairs are streamed, not held in memory."""
    seed: int
    """Of the orders."""

    def world(self, part: slice) -> int:
        """Ranks that share out a global batch of which one has this part."""
        return self.shoppers // (part.stop - part.start)


class PairSource(Protocol):
    """Shoppers with all their pairs by epoch and step; the same global batch however many ranks share it."""

    batch: int
    """Shoppers of a global batch."""
    steps_per_epoch: int
    """Whole batches in an epoch."""

    def pairs(self, epoch: int, step: int) -> PairRows:
        """This rank's shoppers of one global batch."""
        ...


class HeldPairs:
    """All pairs in memory, in a new order of shoppers each epoch; too few of them for a batch are a smaller one.

    Args:
        pairs: Of at least as many shoppers as there are ranks.
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
        """Order of the shoppers in an epoch, int64, the same on every rank."""
        return np.random.default_rng([self._seed, epoch]).permutation(len(self._pairs))

    def pairs(self, epoch: int, step: int) -> PairRows:
        """See PairSource."""
        if epoch != self._epoch:  # kept: for a million shoppers it takes as long as a step
            self._order, self._epoch = self.order(epoch), epoch
        return self._pairs.take(self._order[step * self.batch : (step + 1) * self.batch][self._part])


class StreamedPairs:
    """Pairs of files that are never held as a whole; see training.stream for their order.

    Any batch that ranks can share out works. If their number is no power of two up to 8, what a batch holds depends on
    it, and a run that resumes with another number sees another order.
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
    """Held, or streamed when the files have more pairs than `config.held_pairs`.

    Args:
        paths: Pairs files of the training moments.
        spec: Of the features.
        config: How.
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
    """The pairs that are validated on, `SHOPPERS` at a time in the file's order, whether held or read in every pass."""

    def __init__(self, path: Path, spec: FeatureSpec, held_pairs: int):
        self._path, self._spec = path, spec
        self._held = PairRows.read([path], spec) if _held([path], held_pairs) else None

    def __iter__(self) -> Iterator[PairRows]:
        if self._held is None:
            yield from PairRows.parts(self._path, self._spec)
            return
        for start in range(0, len(self._held), SHOPPERS):
            yield self._held.take(np.arange(start, min(start + SHOPPERS, len(self._held))))
