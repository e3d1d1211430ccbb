"""The model's answers for the shoppers of a split, computed by the serving code."""

from dataclasses import dataclass, field

import numpy as np

from components.evaluate_model.baselines import Lists
from components.shared.features.columns import DenseInput
from components.shared.features.ragged import offsets_of
from components.shared.features.rows import Rows
from components.shared.recommender.recommender import Recommender, target_probability

_SAMPLED = 30
"""Approximate number of negative pairs per shopper whose inputs are kept."""


@dataclass(frozen=True)
class Pool:
    """Every candidate of every shopper with the ranker's probability and the label.

    Attributes:
        row: int64 [pairs], row of the split. probability: float32 [pairs]. label: bool [pairs].
        again: bool [pairs], bought before.
        sampled: int64 [n], pairs whose dense inputs are kept: all positives and a sample of the negatives.
        inputs: float32 [n, len(DenseInput)], dense inputs of the sampled pairs.
    """

    row: np.ndarray
    probability: np.ndarray
    label: np.ndarray
    again: np.ndarray
    sampled: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    inputs: np.ndarray = field(default_factory=lambda: np.zeros((0, len(DenseInput)), np.float32))


def model_answers(recommender: Recommender, rows: Rows, k: int, part: int = 64) -> tuple[Lists, Pool]:
    """Rank the catalog for every row of a split."""
    overall, first = np.zeros((len(rows), k), np.int64), np.zeros((len(rows), k), np.int64)
    pool: list[tuple[np.ndarray, ...]] = []
    items, pairs, random = len(recommender.catalog), 0, np.random.default_rng(0)
    for start in range(0, len(rows), part):
        at = np.arange(start, min(start + part, len(rows)))
        histories = recommender.store.before(rows.shopper[at], rows.timestamp[at], recommender.spec.max_history)
        answers = recommender.rank(histories, items)
        for row, answer in zip(at, answers, strict=True):
            again = answer.dense[:, DenseInput.BOUGHT_BEFORE] > 0
            fill(overall[row], answer.item)
            fill(first[row], answer.item[~again])
        lengths = np.array([len(answer.item) for answer in answers])
        row = np.repeat(at, lengths)
        item = np.concatenate([answer.item for answer in answers])
        targets = rows.targets.take(at)
        wanted = np.repeat(at, targets.lengths) * items + targets.values
        dense = np.concatenate([answer.dense for answer in answers])
        tasks = np.concatenate([answer.tasks for answer in answers])
        label = np.isin(row * items + item, wanted)
        kept = np.flatnonzero(label | (random.random(len(label)) < _SAMPLED / np.maximum(lengths, 1)[row - start]))
        pool.append(
            (
                row,
                target_probability(tasks, dense),
                label,
                dense[:, DenseInput.BOUGHT_BEFORE] > 0,
                pairs + kept,
                dense[kept],
            )
        )
        pairs += len(label)
    columns = [np.concatenate(column) for column in zip(*pool, strict=True)]
    return Lists(overall, first), Pool(*columns)


def fill(position: np.ndarray, items: np.ndarray) -> None:
    """Write the first items into the positions of one list; positions beyond them keep their 0."""
    count = min(len(position), len(items))
    position[:count] = items[:count]


def pool_offsets(pool: Pool, shoppers: int) -> np.ndarray:
    """int64 [shoppers + 1], where each shopper's pairs start."""
    return offsets_of(np.bincount(pool.row, minlength=shoppers))
