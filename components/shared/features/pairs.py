"""Dense inputs of the ranker: features of a shopper and a candidate item as of a reference time.

Training pairs and live requests share this vectorised code; it has no loop over rows.
"""

from dataclasses import dataclass

import numpy as np

from components.shared.features.catalog import Catalog
from components.shared.features.columns import POPULARITY_WINDOWS, DenseInput, ItemStatistic, dense_inputs
from components.shared.features.history import Histories
from components.shared.features.ragged import expand_ranges, group_sums
from components.shared.features.shopper import event_weights
from components.shared.features.spec import DAY, FeatureSpec
from components.shared.schema.tables import EVENT_TYPES

_OWN = dense_inputs(DenseInput.BOUGHT_BEFORE, DenseInput.ANY_RECENCY_7)
_CATEGORY_LEVELS = (DenseInput.CATEGORY_ROOT, DenseInput.CATEGORY_MIDDLE, DenseInput.CATEGORY_LEAF)


@dataclass(frozen=True)
class Pairs:
    """Shopper-item pairs of a batch.

    Attributes:
        row: int64 [pairs], row in the histories.
        item: int64 [pairs], catalog row.
        score: float32 [pairs], the retriever's score.
        item_knn_score: float32 [pairs], item-kNN score of the item (see neighbours.py).
        item_knn_share: float32 [pairs], item_knn_score divided by the highest score of the row.
    """

    row: np.ndarray
    item: np.ndarray
    score: np.ndarray
    item_knn_score: np.ndarray
    item_knn_share: np.ndarray


@dataclass(frozen=True)
class PairSummary:
    """Summary of the events of each (row, item) pair, sorted by key.

    Attributes:
        key: int64, row * items + item.
        times: number of target events. days: number of distinct days with one.
        first, last: epoch seconds of the first and the last target event (0: none).
        weight: sum of event weights of all types. last_any: epoch seconds of the latest event of any type.
        recent_times: sum of 2 ** -(age / half-life) over the target events.
    """

    key: np.ndarray
    times: np.ndarray
    days: np.ndarray
    first: np.ndarray
    last: np.ndarray
    weight: np.ndarray
    last_any: np.ndarray
    recent_times: np.ndarray

    def at(self, key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position of each key and whether it exists."""
        position = np.minimum(np.searchsorted(self.key, key), max(len(self.key) - 1, 0))
        found = self.key[position] == key if len(self.key) else np.zeros(len(key), bool)
        return position, found


def summarise_pairs(histories: Histories, items: int, spec: FeatureSpec) -> PairSummary:
    """Summarise the events of each (row, item) pair."""
    row, target = histories.row, histories.event_type == EVENT_TYPES.index(spec.target_event)
    key, inverse = np.unique(row * items + histories.item, return_inverse=True)
    count = len(key)
    times = np.bincount(inverse, weights=target, minlength=count)
    age = (histories.now[row] - histories.timestamp) / DAY
    first, last, last_any = np.full(count, np.iinfo(np.int64).max), np.zeros(count, np.int64), np.zeros(count, np.int64)
    np.minimum.at(first, inverse[target], histories.timestamp[target])
    np.maximum.at(last, inverse[target], histories.timestamp[target])
    np.maximum.at(last_any, inverse, histories.timestamp)
    day = histories.timestamp // DAY
    first_day, width = _span(day)
    distinct = np.unique(inverse[target] * width + day[target] - first_day) // width
    return PairSummary(
        key=key, times=times, days=np.bincount(distinct, minlength=count).astype(np.float64),
        first=np.where(times > 0, first, 0), last=last,
        weight=np.bincount(inverse, weights=event_weights(histories, spec), minlength=count), last_any=last_any,
        recent_times=np.bincount(inverse, weights=target * np.exp2(-age / spec.half_life_days), minlength=count),
    )  # fmt: skip


def pair_features(
    histories: Histories,
    touched: PairSummary,
    pairs: Pairs,
    catalog: Catalog,
    statistics: np.ndarray,
    spec: FeatureSpec,
) -> np.ndarray:
    """Dense inputs of the ranker, float32 [pairs, len(DenseInput)]; counts are log(1 + x), recencies are in [0, 1].

    Args:
        histories: Events before each row's reference time.
        touched: Result of `summarise_pairs` for the histories.
        pairs: Shopper-item pairs.
        catalog: Prices, categories and brands.
        statistics: float32 [items, len(ItemStatistic)] as of the rows' reference time.
        spec: Event weights, half-life, normalisation of prices.
    """
    visits = _visits(histories)
    user = _user_columns(histories, touched, len(catalog), visits, spec)
    columns = {
        **_own_columns(histories, pairs, touched, len(catalog), visits),
        **{name: values[pairs.row] for name, values in user.items()},
        **_item_columns(pairs, statistics),
        **_price_columns(histories, pairs, catalog, spec),
        **_affinity_columns(histories, pairs, catalog, spec),
        DenseInput.SIMILAR: np.log1p(100.0 * pairs.item_knn_score),
        DenseInput.SIMILAR_SHARE: pairs.item_knn_share,
        DenseInput.RETRIEVAL_SCORE: pairs.score,
    }
    return np.stack([columns[name] for name in DenseInput], 1).astype(np.float32)


def _span(day: np.ndarray) -> tuple[int, int]:
    """First day and number of days up to the last one, to encode (row, day) as one integer."""
    return (int(day.min()), int(day.max() - day.min()) + 1) if len(day) else (0, 1)


def _own_columns(
    histories: Histories, pairs: Pairs, touched: PairSummary, items: int, visits: np.ndarray
) -> dict[DenseInput, np.ndarray]:
    """Features of the shopper's previous events with the item."""
    position, found = touched.at(pairs.row * items + pairs.item)
    if not len(touched.key):
        return dict.fromkeys(_OWN, np.zeros(len(pairs.row)))
    now = histories.now[pairs.row]
    times = np.where(found, touched.times[position], 0.0)
    days = np.where(found, touched.days[position], 0.0)
    bought = times > 0
    since = np.where(bought, (now - touched.last[position]) / DAY, 0.0)
    gap = (touched.last[position] - touched.first[position]) / DAY / np.maximum(days - 1, 1)
    ratio = np.where(bought & (days > 1), np.minimum(since / np.maximum(gap, 1.0), 5.0), 0.0)
    since_any = (now - touched.last_any[position]) / DAY
    return {
        DenseInput.BOUGHT_BEFORE: bought.astype(np.float64),
        DenseInput.TIMES: np.log1p(times),
        DenseInput.DAYS_BOUGHT: np.log1p(days),
        DenseInput.RECENCY_7: np.where(bought, np.exp2(-since / 7), 0.0),
        DenseInput.RECENCY_30: np.where(bought, np.exp2(-since / 30), 0.0),
        DenseInput.RECENCY_90: np.where(bought, np.exp2(-since / 90), 0.0),
        DenseInput.RECENT_TIMES: np.log1p(np.where(found, touched.recent_times[position], 0.0)),
        DenseInput.SINCE_OVER_GAP: ratio,
        DenseInput.DUE: np.where(ratio > 0, np.exp(-np.abs(ratio - 1.0)), 0.0),
        DenseInput.SHARE_OF_VISITS: days / np.maximum(visits[pairs.row], 1.0),
        DenseInput.ANY_WEIGHT: np.log1p(np.where(found, touched.weight[position], 0.0)),
        DenseInput.ANY_RECENCY_7: np.where(found, np.exp2(-since_any / 7), 0.0),
    }


def _visits(histories: Histories) -> np.ndarray:
    """Number of days with events of each row, float64 [rows]."""
    day = histories.timestamp // DAY
    first_day, width = _span(day)
    days = np.unique(histories.row * width + day - first_day) // width
    return np.bincount(days, minlength=len(histories)).astype(np.float64)


def _user_columns(
    histories: Histories, touched: PairSummary, items: int, visits: np.ndarray, spec: FeatureSpec
) -> dict[DenseInput, np.ndarray]:
    """Features of the shopper of each row, float64 [rows] each."""
    rows = len(histories)
    events = np.diff(histories.offsets).astype(np.float64)
    distinct = np.bincount(touched.key // items, minlength=rows).astype(np.float64)
    first, last = np.zeros(rows), np.zeros(rows)
    some = events > 0
    first[some] = histories.timestamp[histories.offsets[:-1][some]]
    last[some] = histories.timestamp[histories.offsets[1:][some] - 1]
    span = np.where(some, (histories.now - first) / DAY, 0.0)
    return {
        DenseInput.USER_EVENTS: np.log1p(events),
        DenseInput.USER_VISITS: np.log1p(visits),
        DenseInput.USER_ITEMS: np.log1p(distinct),
        DenseInput.USER_RECENCY: np.where(some, np.exp2(-(histories.now - last) / DAY / spec.half_life_days), 0.0),
        DenseInput.USER_REPEAT_SHARE: np.where(some, 1.0 - distinct / np.maximum(events, 1.0), 0.0),
        DenseInput.USER_PACE: np.log1p(30.0 * visits / np.maximum(span, 1.0)),
    }


def _item_columns(pairs: Pairs, statistics: np.ndarray) -> dict[DenseInput, np.ndarray]:
    """Popularity features of the item."""
    # The decayed popularity only sorts hot candidates; it is not an input.
    read = statistics[pairs.item].astype(np.float64)
    short, middle, long = (read[:, column] for column in POPULARITY_WINDOWS)
    new_middle = read[:, ItemStatistic.DISCOVERY_MIDDLE]
    return {
        DenseInput.POPULARITY_SHORT: np.log1p(short),
        DenseInput.POPULARITY_MIDDLE: np.log1p(middle),
        DenseInput.POPULARITY_LONG: np.log1p(long),
        DenseInput.TREND: np.log1p(short) - np.log1p(long),
        DenseInput.BUYERS: np.log1p(read[:, ItemStatistic.BUYERS]),
        DenseInput.REPEAT_RATE: read[:, ItemStatistic.REPEAT_RATE],
        DenseInput.DISCOVERY_SHORT: np.log1p(read[:, ItemStatistic.DISCOVERY_SHORT]),
        DenseInput.DISCOVERY_MIDDLE: np.log1p(new_middle),
        DenseInput.DISCOVERY_SHARE: new_middle / np.maximum(middle, 1.0),
    }


def _price_columns(
    histories: Histories, pairs: Pairs, catalog: Catalog, spec: FeatureSpec
) -> dict[DenseInput, np.ndarray]:
    """Scaled log price of the item, and its difference from the mean over the items in the shopper's history."""

    def scaled(price: np.ndarray) -> np.ndarray:
        return np.clip((np.log1p(np.maximum(price, 0)) - spec.price_log_mean) / spec.price_log_std, -5, 5)

    known = ~np.isnan(catalog.price[histories.item])
    paid = np.bincount(
        histories.row[known], weights=scaled(catalog.price[histories.item[known]]), minlength=len(histories)
    )
    count = np.bincount(histories.row[known], minlength=len(histories))
    usual = paid / np.maximum(count, 1)
    price = catalog.price[pairs.item]
    has_price = ~np.isnan(price)
    own = np.where(has_price, scaled(np.nan_to_num(price)), 0.0)
    gap = np.where(has_price & (count[pairs.row] > 0), own - usual[pairs.row], 0.0)
    return {DenseInput.PRICE: own, DenseInput.PRICE_GAP: gap, DenseInput.HAS_PRICE: has_price.astype(np.float64)}


def _affinity_columns(
    histories: Histories, pairs: Pairs, catalog: Catalog, spec: FeatureSpec
) -> dict[DenseInput, np.ndarray]:
    """Share of the shopper's event weight in the item's root, middle and leaf category and in its brand."""
    weights = event_weights(histories, spec)
    total = np.bincount(histories.row, weights=weights, minlength=len(histories))
    category, brand = catalog.features["category"], catalog.features["brand"]
    lengths = category.lengths[histories.item]
    flat = category.values[expand_ranges(category.offsets[histories.item], lengths)]
    width = category.width
    known, sums = group_sums(np.repeat(histories.row, lengths) * width + flat, np.repeat(weights, lengths))
    columns = {}
    leaf_weight = np.zeros(len(pairs.row))
    for level, name in enumerate(_CATEGORY_LEVELS):
        # Paths with fewer levels use their leaf for the deeper levels.
        depth = np.minimum(level, np.maximum(category.lengths[pairs.item] - 1, 0))
        has = category.lengths[pairs.item] > 0
        where = np.where(has, category.offsets[:-1][pairs.item] + depth, 0)
        value = np.where(has, category.values[where], 0) if len(category.values) else np.zeros(len(has), np.int64)
        leaf_weight = np.where(value > 0, _look_up(known, sums, pairs.row * width + value), 0.0)
        columns[name] = leaf_weight / np.maximum(total[pairs.row], 1e-9)
    brand_width = brand.width
    keys, sums = group_sums(histories.row * brand_width + brand.values[histories.item], weights)
    value = brand.values[pairs.item]
    affinity = np.where(value > 0, _look_up(keys, sums, pairs.row * brand_width + value), 0.0)
    return {
        **columns,
        DenseInput.BRAND_AFFINITY: affinity / np.maximum(total[pairs.row], 1e-9),
        DenseInput.LEAF_TIMES: np.log1p(leaf_weight),
    }


def _look_up(keys: np.ndarray, sums: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Look up the sum of each wanted key; 0 for missing keys."""
    if not len(keys):
        return np.zeros(len(wanted))
    position = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[position] == wanted, sums[position], 0.0)
