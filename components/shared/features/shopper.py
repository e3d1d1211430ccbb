"""Inputs of the user tower, computed from histories; training rows and live requests share this code."""

import numpy as np

from components.shared.features.catalog import Catalog
from components.shared.features.history import Histories
from components.shared.features.ragged import Ragged, expand_ranges, group_sums, offsets_of, top_of_rows
from components.shared.features.spec import DAY, FeatureSpec
from components.shared.schema.tables import EVENT_TYPES


def event_weights(histories: Histories, spec: FeatureSpec) -> np.ndarray:
    """Weight of each event, float64 [events]: the weight of its type, halved for every `half_life_days` of age."""
    by_type = np.array([spec.event_weights[name] for name in EVENT_TYPES])
    age_days = (histories.now[histories.row] - histories.timestamp) / DAY
    return by_type[histories.event_type] * np.exp2(-age_days / spec.half_life_days)


def item_interest(histories: Histories, spec: FeatureSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sparse interaction matrix: (row, item, summed event weight), one entry per item in a row's history.

    The summed event weight measures the shopper's interest in the item.
    """
    width = int(histories.item.max(initial=0)) + 1
    keys, sums = group_sums(histories.row * width + histories.item, event_weights(histories, spec))
    return keys // width, keys % width, sums


def shopper_features(
    histories: Histories, catalog: Catalog, spec: FeatureSpec, query: Ragged | None = None
) -> dict[str, Ragged]:
    """Inputs of the user tower: one `Ragged` per feature, with as many rows as `histories`.

    Args:
        histories: Events before each row's reference time.
        catalog: Categories, brand and embedding row of each item.
        spec: Lengths, weights and half-life.
        query: Token ids of each row's query; empty for rows without a query.
    """
    recent = histories.last(spec.interest_history)
    weights = event_weights(recent, spec)
    rows = len(recent)
    return {
        "user": Ragged.ones(recent.user),
        "sequence": _sequence(recent, weights, catalog, spec.user("sequence").max_length),
        "interest_category": _interests(
            recent, weights, catalog.features["category"], spec.user("interest_category").max_length
        ),
        "interest_brand": _interests(
            recent, weights, catalog.features["brand"], spec.user("interest_brand").max_length
        ),
        "query": query
        if query is not None
        else Ragged(np.zeros(rows + 1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)),
    }


def _normalised(row: np.ndarray, weights: np.ndarray, rows: int) -> np.ndarray:
    """Weights divided by their row's sum, float32; a row without weight stays 0."""
    sums = np.bincount(row, weights=weights, minlength=rows)
    return (weights / np.where(sums > 0, sums, 1.0)[row]).astype(np.float32)


def _sequence(recent: Histories, weights: np.ndarray, catalog: Catalog, length: int) -> Ragged:
    """The latest `length` events with a positive weight, newest first; weights are normalised to sum 1."""
    row, kept = recent.row, weights > 0
    row, item, weight = row[kept], recent.item[kept], weights[kept]
    newest = np.arange(len(row))[::-1]
    picked = top_of_rows(row, -newest.astype(np.float64), length)
    row, item, weight = row[picked], item[picked], weight[picked]
    offsets = offsets_of(np.bincount(row, minlength=len(recent)))
    return Ragged(offsets, catalog.embedding_row(item), _normalised(row, weight, len(recent)))


def _interests(recent: Histories, weights: np.ndarray, attribute: Ragged, length: int) -> Ragged:
    """The `length` attribute values (categories, brands) with the highest summed weights, normalised to sum 1."""
    lengths = attribute.lengths[recent.item]
    values = attribute.values[expand_ranges(attribute.offsets[recent.item], lengths)]
    row, weight = np.repeat(recent.row, lengths), np.repeat(weights, lengths)
    kept = (values > 0) & (weight > 0)
    width = attribute.width
    keys, sums = group_sums(row[kept] * width + values[kept], weight[kept])
    row, value = keys // width, keys % width
    picked = top_of_rows(row, sums, length)
    row, value, sums = row[picked], value[picked], sums[picked]
    offsets = offsets_of(np.bincount(row, minlength=len(recent)))
    return Ragged(offsets, value, _normalised(row, sums, len(recent)))
