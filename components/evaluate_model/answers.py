"""The model's own answers for the shoppers of a split, made by the very code that serves."""

from dataclasses import dataclass

import numpy as np

from components.evaluate_model.baselines import Lists
from components.shared.ragged import offsets_of
from components.shared.recommender import Recommender, wanted_probability
from components.shared.rows import Rows


@dataclass(frozen=True)
class Pool:
    """Every candidate of every shopper with the ranker's probability and what came true.

    Attributes:
        row: int64 [pairs]. probability: float32 [pairs]. label: bool [pairs]. again: bool [pairs], bought before.
    """

    row: np.ndarray
    probability: np.ndarray
    label: np.ndarray
    again: np.ndarray


def model_answers(recommender: Recommender, rows: Rows, k: int, part: int = 64) -> tuple[Lists, Pool]:
    """Rank the catalogue for every row of a split."""
    overall, first = np.zeros((len(rows), k), np.int64), np.zeros((len(rows), k), np.int64)
    pool: list[tuple[np.ndarray, ...]] = []
    items = len(recommender.catalog)
    for start in range(0, len(rows), part):
        at = np.arange(start, min(start + part, len(rows)))
        histories = recommender.store.before(rows.shopper[at], rows.timestamp[at], recommender.spec.max_history)
        answers = recommender.rank(histories, items)
        for row, answer in zip(at, answers, strict=True):
            again = answer.dense[:, 0] > 0
            fill(overall[row], answer.item)
            fill(first[row], answer.item[~again])
        lengths = np.array([len(answer.item) for answer in answers])
        row = np.repeat(at, lengths)
        item = np.concatenate([answer.item for answer in answers])
        targets = rows.targets.take(at)
        wanted = np.repeat(at, targets.lengths) * items + targets.values
        dense = np.concatenate([answer.dense for answer in answers])
        tasks = np.concatenate([answer.tasks for answer in answers])
        pool.append((row, wanted_probability(tasks, dense), np.isin(row * items + item, wanted), dense[:, 0] > 0))
    columns = [np.concatenate(column) for column in zip(*pool, strict=True)]
    return Lists(overall, first), Pool(*columns)


def fill(place: np.ndarray, items: np.ndarray) -> None:
    """Write the first items into the places of one list; places beyond them keep their 0."""
    count = min(len(place), len(items))
    place[:count] = items[:count]


def pool_offsets(pool: Pool, shoppers: int) -> np.ndarray:
    """int64 [shoppers + 1], where each shopper's pairs start."""
    return offsets_of(np.bincount(pool.row, minlength=shoppers))
