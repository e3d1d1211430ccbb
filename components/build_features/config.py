"""Options of the features: cleaning, vocabularies, interests, sequences, label windows."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Self

from pydantic import Field

from components.shared.options import Amount, Count, Fraction, Limit, Options, Rate, merged
from components.shared.recommender.similarity import SimilarityConfig
from components.shared.schema.sizes import Size
from components.shared.schema.tables import DEFAULT_EVENT_WEIGHTS, EventType


class CleaningConfig(Options):
    """Thresholds of the cleaning rules."""

    robot_events_per_day: Count = 2_000
    """A shopper with more events than this on any day is a robot; all of its events are dropped."""
    price_quantile: Fraction = 0.999
    """A price above ten times this quantile of the prices before `retriever_end` is an outlier and becomes unknown."""
    quantity_quantile: Fraction = 0.999
    """Quantities are capped at this quantile of those before `retriever_end`."""


class VocabularyConfig(Options):
    """What is kept of each vocabulary."""

    min_item_events: Amount = 2
    """Items with fewer events before retriever_end share the unknown embedding row."""
    item_hash_rows: Amount = 0
    """Rows behind the vocabulary that those items share by the hash of their id, instead of the unknown one; 0: none.
    Colliding items share an embedding; the expected and the counted share are among the stage's metrics."""
    min_user_events: Amount = 2
    """Likewise for shoppers."""
    item_rows: Amount = 0
    """At most this many items have an embedding row: those of the most events, an event of `row_half_life_days` before
    retriever_end counting half; 0: all that were seen often enough."""
    user_rows: Amount = 0
    """Likewise for shoppers."""
    row_half_life_days: Limit = 28.0
    """Such counts find more of later events than plain ones do (measured: tests/benchmarks/quality/bounded_ids.py)."""
    min_tokens: Amount = 2
    """Title tokens of fewer items are unknown."""
    max_tokens: Count = 50_000
    """At most this many title tokens, the most frequent ones."""
    category_levels: Count = 4
    """Levels of the category path that are read, root first."""
    title_length: Count = 16
    """Title tokens kept an item."""
    price_buckets: Count = 16
    """Quantile buckets of the catalog's prices."""


class FeatureOptions(Options):
    """How features are made; everything else is derived from the data."""

    cleaning: CleaningConfig = CleaningConfig()
    """Thresholds of the cleaning rules."""
    vocabulary: VocabularyConfig = VocabularyConfig()
    """Limits of the vocabularies."""
    event_weights: dict[EventType, Rate] = Field(default_factory=lambda: dict(DEFAULT_EVENT_WEIGHTS))
    """Weight of each event type in interests and sequences."""
    half_life_days: Limit = 30.0
    """Days after which an event counts half."""
    horizon_days: Limit = 28.0
    """Length of the label windows; shorter data gets shorter ones."""
    snapshots: Count = 2
    """Moments that the ranker learns from; by size: tiny 1, small 2, full 4."""
    sequence_length: Count = 50
    """Events in a behaviour sequence."""
    interest_length: Count = 8
    """Categories and brands in an interest vector."""
    query_length: Count = 12
    """Tokens of a query that are read."""
    interest_history: Count = 256
    """Latest events that make interests and sequences."""
    max_history: Count = 4_096
    """Latest events of a shopper that are read at all."""
    popularity_days: Annotated[tuple[Count, ...], Field(min_length=3, max_length=3)] = (7, 28, 91)
    """Windows of the item popularity features."""
    popularity_half_life_days: Limit = 7.0
    """Days after which a target event counts half in the decayed popularity: about a week's rhythm of a shop."""
    similarity: SimilarityConfig = SimilarityConfig()
    """Which items are compared by their shoppers, and how many neighbours they keep."""

    @classmethod
    def for_size(cls, size: Size, given: Mapping[str, Any] = MappingProxyType({})) -> Self:
        """The defaults of a size with what the section `features` gives.

        Raises:
            InputError: names the path of what cannot be used.
        """
        return cls.read(merged({"snapshots": size.snapshots}, given), "features")
