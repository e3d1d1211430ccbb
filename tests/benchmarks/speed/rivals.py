"""Baselines a user might write instead: features in pandas, training in plain torch; measured by bench.py."""
# pandas-stubs are not installed; the type checker cannot resolve pandas' overloads.
# pyright: reportCallIssue=false, reportAttributeAccessIssue=false

import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from components.shared.features.ragged import Ragged
from components.shared.features.spec import SparseFeature
from components.shared.models.retriever import RetrieverConfig, Tower

_SEQUENCE, _INTERESTS, _HISTORY, _HALF_LIFE_DAYS = 50, 8, 256, 30.0


def pandas_rows(events: Path, items: Path, until: pd.Timestamp) -> int:
    """Compute sequences, interests and targets of every visit before `until`, as in a notebook.

    Returns:
        Number of rows.
    """
    frame = pd.read_parquet(events).drop_duplicates(
        ["user_id", "item_id", "session_id", "timestamp", "quantity", "price"]
    )
    catalog = pd.read_parquet(items)
    path = dict(zip(catalog.item_id, [list(value)[:4] for value in catalog.categories], strict=True))
    brand = dict(zip(catalog.item_id, catalog.brand, strict=True))
    frame = frame[frame.timestamp < until].sort_values(["user_id", "timestamp"])
    vocabulary = {item: row for row, item in enumerate(frame.item_id.value_counts().index, 1)}
    made = []
    for user, own in frame.groupby("user_id", sort=False):
        seconds = own.timestamp.astype("int64").to_numpy() / 1e6
        names = own.item_id.to_numpy()
        for moment, visit in own.groupby("timestamp", sort=False):
            before = int(np.searchsorted(seconds, visit.timestamp.iloc[0].timestamp()))
            recent = slice(max(0, before - _HISTORY), before)
            weights = 0.5 ** ((moment.timestamp() - seconds[recent]) / 86_400 / _HALF_LIFE_DAYS)
            categories: dict[str, float] = {}
            brands: dict[str, float] = {}
            for name, weight in zip(names[recent], weights, strict=True):
                for level in range(1, len(path.get(name, [])) + 1):
                    key = " > ".join(path[name][:level])
                    categories[key] = categories.get(key, 0.0) + weight
                brands[brand.get(name, "")] = brands.get(brand.get(name, ""), 0.0) + weight
            best = [sorted(found, key=lambda key: -found[key])[:_INTERESTS] for found in (categories, brands)]
            sequence = [vocabulary[name] for name in names[recent][::-1][:_SEQUENCE]]
            made.append((user, moment, sequence, best, sorted({vocabulary[name] for name in visit.item_id})))
    return len(made)


class PlainBags(nn.Module):
    """nn.EmbeddingBag tables with dense gradients, one per feature."""

    def __init__(self, features: tuple[SparseFeature, ...], dim: int):
        super().__init__()
        self.bags = nn.ModuleList([nn.EmbeddingBag(f.rows, dim, mode="sum") for f in features])
        self.names = [feature.name for feature in features]

    def forward(self, values: dict[str, Ragged]) -> torch.Tensor:
        """Return pooled embeddings [B, features * D]."""
        pooled = [
            bag(
                torch.from_numpy(values[name].values), torch.from_numpy(values[name].offsets[:-1]),
                per_sample_weights=torch.from_numpy(values[name].weights),
            )
            for bag, name in zip(self.bags, self.names, strict=True)
        ]  # fmt: skip
        return torch.cat(pooled, 1)


class PlainRetriever(nn.Module):
    """The same two towers in plain torch."""

    def __init__(self, config: RetrieverConfig):
        super().__init__()
        dim = config.embedding_dim
        self.user_bags = PlainBags(config.user_features, dim)
        self.item_bags = PlainBags(config.item_features, dim)
        self.user_tower = Tower(len(config.user_features) * dim, config.hidden_dim, dim)
        self.item_tower = Tower(len(config.item_features) * dim, config.hidden_dim, dim + 1)

    def forward(self, users: dict[str, Ragged], items: dict[str, Ragged]) -> tuple[torch.Tensor, ...]:
        """Return user vectors, item vectors and item biases."""
        out = self.item_tower(self.item_bags(items))
        return self.user_tower(self.user_bags(users)), out[:, :-1], out[:, -1]


def clocked(step, warm: int, counted: int) -> float:
    """Return the seconds of `counted` calls of `step(number)` after `warm` warm-up calls."""
    for number in range(warm):
        step(number)
    started = time.perf_counter()
    for number in range(warm, warm + counted):
        step(number)
    return time.perf_counter() - started
