"""Batches of training rows; each is determined by (seed, epoch, step)."""

from dataclasses import dataclass

import numpy as np

from components.shared.features.catalog import Catalog
from components.shared.features.ragged import Ragged, offsets_of
from components.shared.features.rows import Rows
from components.train_retriever.config import SamplingConfig


@dataclass(frozen=True)
class Batch:
    """This rank's part of a global batch.

    Attributes:
        features: user features of B rows.
        items: item features of the B * K drawn targets.
        item: int64 [B * K], their catalog rows.
        rating: float32 [B * K], the shopper's rating of each target; None if the rows have no ratings.
    """

    features: dict[str, Ragged]
    items: dict[str, Ragged]
    item: np.ndarray
    rating: np.ndarray | None = None


def draw_batch(rows: Rows, catalog: Catalog, config: SamplingConfig, at: tuple[int, int], part: slice) -> Batch:
    """Draw targets and dropouts for this rank's part of the global batch at (epoch, step).

    Draws are made for the whole global batch and then sliced, so they do not depend on the number of ranks.

    Args:
        rows: This rank's rows (sources.RowSource).
        catalog: Item features.
        config: Batch size, targets, dropout and seed.
        at: Epoch and step.
        part: Slice of the global batch.
    """
    random, size = np.random.default_rng([config.seed, 1 + at[0], at[1]]), config.batch_size
    position = random.random((size, config.targets))[part]
    synthetic = random.random(size)[part] < config.title_queries
    drop_user = random.random(size)[part] < config.id_dropout
    drop_item = random.random((size, config.targets))[part] < config.id_dropout
    word = random.random((size, 2))[part]
    positions = (position * rows.targets.lengths[:, None]).astype(np.int64)
    positions += rows.targets.offsets[:-1][:, None]
    positions[synthetic] = positions[synthetic, :1]
    item = rows.targets.values[positions]
    features = dict(rows.features)
    features["user"] = Ragged.ones(np.where(drop_user, 0, features["user"].values))
    features["query"] = _with_title_queries(features["query"], catalog.features["title"], item[:, 0], synthetic, word)
    flat = item.ravel()
    items = {name: ragged.take(flat) for name, ragged in catalog.features.items()}
    items["item"] = Ragged.ones(np.where(drop_item.ravel(), 0, items["item"].values))
    rating = None if rows.rated is None else rows.rated.weights[positions.ravel()]
    return Batch(features, items, flat, rating)


def _with_title_queries(
    query: Ragged, titles: Ragged, item: np.ndarray, synthetic: np.ndarray, word: np.ndarray
) -> Ragged:
    """Use two random words of the item's title as query in rows with `synthetic` and without a real query."""
    lengths = titles.lengths[item]
    synthetic = synthetic & (query.lengths == 0) & (lengths > 0)
    positions = (word * np.maximum(lengths, 1)[:, None]).astype(np.int64)
    new_lengths = np.where(synthetic, 2, query.lengths)
    offsets = offsets_of(new_lengths)
    values, weights = np.zeros(offsets[-1], np.int64), np.zeros(offsets[-1], np.float32)
    own = np.repeat(synthetic, new_lengths)
    values[own] = titles.values[(titles.offsets[:-1][item][:, None] + positions)[synthetic]].ravel()
    weights[own] = 0.5
    kept = np.repeat(~synthetic, query.lengths)
    values[~own], weights[~own] = query.values[kept], query.weights[kept]
    return Ragged(offsets, values, weights)
