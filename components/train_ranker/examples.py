"""The ranker's training pairs: candidates from the retriever and the other sources, labelled by later events.

One Parquet row per shopper and snapshot; candidates, labels and dense features are list columns.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.features.columns import DenseInput
from components.shared.features.ragged import Ragged, expand_ranges, offsets_of
from components.shared.features.rows import Rows
from components.shared.features.spec import FeatureSpec
from components.shared.progress import report
from components.shared.recommender.candidates import CandidateConfig
from components.shared.recommender.offline import open_offline
from components.shared.recommender.recommender import Recommender
from components.shared.training.stream import in_order
from components.train_ranker.shown import ShownPositions

SHOPPERS = 64
"""Number of shoppers whose pairs are created, labelled or scored at a time."""

GROUP_SHOPPERS = 32
"""Shoppers per row group. Training streams 8 shards of 4 groups: 160 MB for any file size, with 800 pairs of 157 bytes
per shopper. Smaller groups would need less, but each adds 14 kB to the footer, which every reader holds: with 32
shoppers 56 MB for 100 million pairs. From 8 to 64 shoppers, file size and read time do not change."""


def pairs_schema(spec: FeatureSpec, with_positions: bool = False) -> pa.Schema:
    """Return the columns of a pairs file, including positions if they are recorded (`with_positions`)."""
    sparse = [
        field
        for feature in spec.user_features
        for field in (
            pa.field(feature.name, pa.list_(pa.int32())),
            pa.field(f"{feature.name}_weight", pa.list_(pa.float32())),
        )
    ]
    position = [pa.field("position", pa.list_(pa.int32()))] * with_positions
    return pa.schema(
        [pa.field("item", pa.list_(pa.int32())), pa.field("label", pa.list_(pa.int8())),
         pa.field("dense", pa.list_(pa.float32())), *sparse, *position]
    )  # fmt: skip


def write_pairs(
    features: Path, retriever: Path, snapshot: str, out: Path, config: CandidateConfig, shoppers: int = 0,
    shown: ShownPositions | None = None, anonymous: float = 0.0,
) -> int:  # fmt: skip
    """Write the pairs of one snapshot and return their number.

    Args:
        features: Output of build_features.
        retriever: Output of train_retriever.
        snapshot: Name of the snapshot, such as ranker-0.
        out: Parquet file to write.
        config: Number of candidates per source, as in serving.
        shoppers: At most this many shoppers (0: all).
        shown: Positions of items in the responses of the snapshot's window; None: unknown.
        anonymous: Share of the shoppers, drawn at random, that are added a second time as anonymous: without id and
            history.
    """
    recommender = open_offline(features, retriever, None, config, snapshot)
    rows = Rows.read(features / "rows" / f"{snapshot}.parquet", recommender.spec)
    chosen = np.arange(len(rows) if not shoppers else min(shoppers, len(rows)))
    total = 0
    with pq.ParquetWriter(out, pairs_schema(recommender.spec, shown is not None), compression="zstd") as writer:
        for batch in _batches(recommender, rows, _asked(rows.shopper[chosen], anonymous), shown):
            writer.write_batch(batch, row_group_size=GROUP_SHOPPERS)
            total += len(batch.column("item").values)
            report("train_ranker", 0.0, f"{snapshot}: {total:,} pairs")
    return total


def _asked(shopper: np.ndarray, anonymous: float) -> tuple[np.ndarray, np.ndarray]:
    """Return snapshot rows and shoppers, int64 each: every row, followed by an anonymous copy (shopper 0) if drawn."""
    row = np.arange(len(shopper))
    drawn = row[np.random.default_rng(0).random(len(shopper)) < anonymous]
    both, who = np.r_[row, drawn], np.r_[shopper, np.zeros_like(drawn)]
    order = np.argsort(both, kind="stable")
    return both[order], who[order]


def _batches(
    recommender: Recommender, rows: Rows, queries: tuple[np.ndarray, np.ndarray], shown: ShownPositions | None
) -> Iterator[pa.RecordBatch]:
    spec, items = recommender.spec, len(recommender.catalog)
    for start in range(0, len(queries[0]), SHOPPERS):
        part, shopper = (one[start : start + SHOPPERS] for one in queries)
        histories = recommender.store.before(shopper, rows.timestamp[part], spec.max_history)
        scored = recommender.candidates(histories)
        targets = rows.targets.take(part)
        wanted = np.repeat(np.arange(len(part)), targets.lengths) * items + targets.values
        found = scored.found
        label = np.isin(found.row * items + found.item, wanted).astype(np.int8)
        starts = found.starts(len(part))
        flat = starts.astype(np.int32)
        columns = [
            pa.ListArray.from_arrays(pa.array(flat), pa.array(found.item.astype(np.int32))),
            pa.ListArray.from_arrays(pa.array(flat), pa.array(label)),
            pa.ListArray.from_arrays(pa.array(flat * len(DenseInput)), pa.array(scored.dense.ravel())),
        ]
        columns += [column for f in spec.user_features for column in scored.features[f.name].to_arrow()]
        if shown is not None:
            # An anonymous copy has the labels of its original, so it also has its positions.
            position = shown.at(rows.shopper[part][found.row], found.item)
            columns.append(pa.ListArray.from_arrays(pa.array(flat), pa.array(position.astype(np.int32))))
        yield pa.RecordBatch.from_arrays(columns, schema=pairs_schema(spec, shown is not None))


MOST_PAIRS = (2**31 - 1) // len(DenseInput)
"""Maximum number of pairs of one table, 56 million: the offsets of its list columns are int32."""

_ITEM = 0
"""Index of the column `item` in a footer; see pairs_schema."""


def count_pairs(paths: Sequence[Path]) -> int:
    """Count the pairs of all files from their footers only; a shopper without pairs counts as one."""
    footers = [pq.read_metadata(path) for path in paths]
    return sum(
        footer.row_group(at).column(_ITEM).num_values for footer in footers for at in range(footer.num_row_groups)
    )


@dataclass(frozen=True)
class PairRows:
    """Pairs of many shoppers in memory.

    Attributes:
        features: user features by name, one row per shopper.
        offsets: int64 [shoppers + 1], where each shopper's pairs start.
        item: int64 [pairs], catalog rows. label: float32 [pairs]. dense: float32 [pairs, dense inputs].
        position: int64 [pairs], position of the item in the shown response, or UNKNOWN, or NOT_SHOWN.
    """

    features: dict[str, Ragged]
    offsets: np.ndarray
    item: np.ndarray
    label: np.ndarray
    dense: np.ndarray
    position: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def read(cls, paths: list[Path], spec: FeatureSpec) -> "PairRows":
        """Read whole pairs files and concatenate them; use `parts` for files of any size."""
        return cls.from_table(pa.concat_tables([pq.read_table(path) for path in paths]).combine_chunks(), spec)

    @classmethod
    def parts(cls, path: Path, spec: FeatureSpec, shoppers: int = SHOPPERS) -> Iterator["PairRows"]:
        """Yield the shoppers of a pairs file in order, `shoppers` at a time; see `in_order` for the memory use."""
        for table in in_order(path, shoppers):
            yield cls.from_table(table, spec)

    @classmethod
    def columns(cls, spec: FeatureSpec, present: Collection[str]) -> list[str]:
        """Return the columns of a pairs file to read; includes positions if they are `present`."""
        return pairs_schema(spec, "position" in present).names

    @classmethod
    def from_table(cls, table: pa.Table, spec: FeatureSpec) -> "PairRows":
        """Create pairs from a table whose columns are one chunk each; `dense` is a read-only view of it."""

        def column(name: str) -> pa.ListArray:
            return table.column(name).chunk(0)

        def flat(name: str) -> np.ndarray:
            """Return the values of all rows; unlike `values`, `flatten` respects the bounds of a slice."""
            return column(name).flatten().to_numpy()

        features = {f.name: Ragged.from_arrow(column(f.name), column(f"{f.name}_weight")) for f in spec.user_features}
        starts = column("item").offsets.to_numpy().astype(np.int64)
        item = flat("item").astype(np.int64)
        position = (
            flat("position").astype(np.int64) if "position" in table.column_names else np.zeros(len(item), np.int64)
        )
        return cls(
            features, starts - starts[0], item, flat("label").astype(np.float32),
            flat("dense").reshape(-1, len(DenseInput)), position,
        )  # fmt: skip

    def take(self, shoppers: np.ndarray) -> "PairRows":
        """Return the given shoppers with all their pairs."""
        lengths = np.diff(self.offsets)[shoppers]
        flat = expand_ranges(self.offsets[shoppers], lengths)
        return PairRows(
            {name: ragged.take(shoppers) for name, ragged in self.features.items()}, offsets_of(lengths),
            self.item[flat], self.label[flat], self.dense[flat], self.position[flat],
        )  # fmt: skip

    @property
    def row(self) -> np.ndarray:
        """int64 [pairs], the shopper of each pair."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))
