"""Options of the features: cleaning, vocabularies, interests, sequences, label windows."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from components.shared.options import Amount, Count, Fraction, Limit, Options, Rate, merged
from components.shared.recommender.similarity import SimilarityConfig
from components.shared.schema.sizes import Size
from components.shared.schema.tables import DEFAULT_EVENT_WEIGHTS, EventType


class CleaningConfig(Options):
    """Thresholds of the cleaning rules."""

    robot_events_per_day: Count = 2_000
    """A shopper with more events than this on any day is treated as a robot; all of its events are dropped."""
    time_outlier_share: Fraction = 0.01
    """Events that a long gap separates from the mass of the events in time are dropped if they are at most this share;
    0: none."""
    price_quantile: Fraction = 0.999
    """A price above ten times this quantile of the prices before `retriever_end` is an outlier and becomes unknown."""
    quantity_quantile: Fraction = 0.999
    """Quantities are capped at this quantile of those before `retriever_end`."""


class VocabularyConfig(Options):
    """Limits of the vocabularies."""

    min_item_events: Amount = 2
    """Items with fewer events before retriever_end share the unknown embedding row."""
    item_hash_rows: Amount = 0
    """Additional rows that those items share by the hash of their id, instead of the unknown row; 0: none.
    Colliding items share an embedding; expected and actual shares are reported in the stage's metrics."""
    min_user_events: Amount = 2
    """The same for shoppers."""
    item_rows: Amount = 0
    """Maximum number of items with an embedding row, by event count with a half-life of `row_half_life_days` before
    retriever_end; 0: no limit."""
    user_rows: Amount = 0
    """The same for shoppers."""
    row_half_life_days: Limit = 28.0
    """Half-life of event counts in days; see tests/benchmarks/quality/bounded_ids.py for its effect."""
    min_tokens: Amount = 2
    """Title tokens in fewer items are mapped to unknown."""
    max_tokens: Count = 50_000
    """Maximum number of title tokens, by frequency."""
    category_levels: Count = 4
    """Number of levels of the category path that are used, from the root."""
    title_length: Count = 16
    """Maximum number of title tokens per item."""
    price_buckets: Count = 16
    """Number of quantile buckets of prices."""


class FeatureOptions(Options):
    """Options of the features."""

    cleaning: CleaningConfig = CleaningConfig()
    """Thresholds of the cleaning rules."""
    target: EventType | Literal[""] = ""
    """Event type that models predict; empty: the strongest (purchase, cart, view, search, impression) with at least 20
    events."""
    vocabulary: VocabularyConfig = VocabularyConfig()
    """Limits of the vocabularies."""
    event_weights: dict[EventType, Rate] = Field(default_factory=lambda: dict(DEFAULT_EVENT_WEIGHTS))
    """Weight of each event type in interests and sequences."""
    half_life_days: Limit = 30.0
    """Half-life of event weights in days."""
    horizon_days: Limit = 28.0
    """Length of the label windows in days; reduced for short data."""
    snapshots: Count = 2
    """Number of snapshots that the ranker is trained on; by size: tiny 1, small 2, full 4."""
    sequence_length: Count = 50
    """Maximum number of events in a behaviour sequence."""
    interest_length: Count = 8
    """Maximum number of categories and brands in an interest vector."""
    query_length: Count = 12
    """Maximum number of query tokens."""
    interest_history: Count = 256
    """Latest events used for interests and sequences."""
    max_history: Count = 4_096
    """Latest events used per shopper."""
    popularity_days: Annotated[tuple[Count, ...], Field(min_length=3, max_length=3)] = (7, 28, 91)
    """Windows of the item popularity features, in days."""
    popularity_half_life_days: Limit = 7.0
    """Half-life of target events in the decayed popularity, in days."""
    similarity: SimilarityConfig = SimilarityConfig()
    """Options of the item similarities."""

    @classmethod
    def for_size(cls, size: Size, given: Mapping[str, Any] = MappingProxyType({})) -> Self:
        """The defaults of a size, updated with section `features`.

        Raises:
            InputError: names the path of an invalid value.
        """
        return cls.read(merged({"snapshots": size.snapshots}, given), "features")
