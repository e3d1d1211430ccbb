"""Column names of the arrays that training, evaluation and serving share.

Members are column indexes: `dense[:, DenseInput.BOUGHT_BEFORE]`.
"""

from enum import IntEnum, auto


class _Column(IntEnum):
    """Column index, starting at 0."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[int]) -> int:
        return count

    @property
    def label(self) -> str:
        """Name in artifacts, reports and answers."""
        return self.name.lower()


class ItemStatistic(_Column):
    """Columns of the item statistics as of one reference time (`statistics.npy`), float32 [items, len(ItemStatistic)].

    Bundles of earlier releases lack the last column, which is only used for hot candidates.
    """

    POPULARITY_SHORT = auto()
    """Number of target events in the first window of `popularity_days`; MIDDLE and LONG: second and third window."""
    POPULARITY_MIDDLE = auto()
    POPULARITY_LONG = auto()
    BUYERS = auto()
    """Number of distinct shoppers with a target event within the longest window."""
    REPEAT_RATE = auto()
    """Share of those shoppers who have target events on more than one day of the window."""
    DISCOVERY_SHORT = auto()
    """Number of shoppers whose first target event with the item is in the short window; MIDDLE: middle window."""
    DISCOVERY_MIDDLE = auto()
    POPULARITY_DECAYED = auto()
    """Sum of 2 ** -(age / half-life) over all target events."""


POPULARITY_WINDOWS = (
    ItemStatistic.POPULARITY_SHORT, ItemStatistic.POPULARITY_MIDDLE, ItemStatistic.POPULARITY_LONG,
)  # fmt: skip
"""In the order of the spec's `popularity_days`."""


class DenseInput(_Column):
    """Columns of the ranker's dense inputs, float32 [pairs, len(DenseInput)]; computed by pairs.pair_features.

    'Bought' stands for the spec's target event.
    """

    BOUGHT_BEFORE = auto()
    TIMES = auto()
    DAYS_BOUGHT = auto()
    RECENCY_7 = auto()
    RECENCY_30 = auto()
    RECENCY_90 = auto()
    RECENT_TIMES = auto()
    SINCE_OVER_GAP = auto()
    DUE = auto()
    SHARE_OF_VISITS = auto()
    ANY_WEIGHT = auto()
    ANY_RECENCY_7 = auto()
    USER_EVENTS = auto()
    USER_VISITS = auto()
    USER_ITEMS = auto()
    USER_RECENCY = auto()
    USER_REPEAT_SHARE = auto()
    USER_PACE = auto()
    POPULARITY_SHORT = auto()
    POPULARITY_MIDDLE = auto()
    POPULARITY_LONG = auto()
    TREND = auto()
    BUYERS = auto()
    REPEAT_RATE = auto()
    DISCOVERY_SHORT = auto()
    DISCOVERY_MIDDLE = auto()
    DISCOVERY_SHARE = auto()
    PRICE = auto()
    PRICE_GAP = auto()
    HAS_PRICE = auto()
    CATEGORY_ROOT = auto()
    CATEGORY_MIDDLE = auto()
    CATEGORY_LEAF = auto()
    BRAND_AFFINITY = auto()
    LEAF_TIMES = auto()
    SIMILAR = auto()
    SIMILAR_SHARE = auto()
    RETRIEVAL_SCORE = auto()


def dense_inputs(first: DenseInput, last: DenseInput) -> tuple[DenseInput, ...]:
    """Columns from `first` to `last`, inclusive."""
    return tuple(column for column in DenseInput if first <= column <= last)


class Task(_Column):
    """Columns of the ranker's logits and probabilities, [pairs, len(Task)]."""

    AGAIN = auto()
    """The target event with an item that the shopper has bought before."""
    FIRST = auto()
    """The target event with an item that the shopper has not bought yet."""
