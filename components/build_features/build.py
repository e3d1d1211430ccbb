"""Build the features: catalog, histories, training rows and feature spec.

SQL cleans, encodes and counts; `shared/features/shopper.py` converts histories to features, as in the predictor.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.build_features import encode
from components.build_features.cleaning import clean, dropped, limit_outliers
from components.build_features.config import FeatureOptions
from components.build_features.leakage import check_leakage
from components.build_features.queries import literal
from components.build_features.target import target_event
from components.build_features.time_outliers import drop_time_outliers
from components.build_features.vocabulary import Vocabularies, encode_items
from components.shared.cgroup import usable_cpus
from components.shared.disk import disk_errors
from components.shared.errors import DataError
from components.shared.features.catalog import Catalog
from components.shared.features.history import HistoryStore
from components.shared.features.id_hashing import Collisions
from components.shared.features.query import query_features
from components.shared.features.rows import RATINGS, REQUESTS
from components.shared.features.shopper import shopper_features
from components.shared.features.spec import FeatureSpec, SparseFeature
from components.shared.features.vocabulary import QUERIES
from components.shared.progress import report, tell
from components.shared.schema.tables import EVENT_TYPES, EVENTS, ITEMS, USERS, schema_hash
from components.shared.schema.timeline import Timeline
from components.shared.storage import atomic_directory, write_json
from components.shared.version import VERSION


@dataclass(frozen=True, kw_only=True)
class FeatureSummary:
    """Summary of the built features."""

    cleaning: dict[str, int]
    """Rows affected by each cleaning rule."""
    rows: dict[str, int]
    """Rows of each split."""
    known_users: int
    """Number of shoppers with an embedding."""
    known_items: int
    """Number of items with an embedding."""
    later_known: float
    """Share of events after the retriever's training window whose item has an embedding."""
    collisions: Collisions | None
    """Collisions of items that share hash rows, or None."""
    leakage_checked: int
    """Number of rows checked for leakage."""
    schema_hash: str
    """Hash of the data contract."""

    def metrics(self) -> dict[str, float]:
        """All counts by metric name."""
        rows = {f"rows_{name.replace('-', '_')}": count for name, count in self.rows.items()}
        sizes = {"known_users": self.known_users, "known_items": self.known_items,
                 "later_events_known": self.later_known, "leakage_checked": self.leakage_checked}  # fmt: skip
        shared = self.collisions.metrics() if self.collisions else {}
        return {name: float(value) for name, value in {**self.cleaning, **rows, **sizes, **shared}.items()}

    def metadata(self) -> dict[str, str | int | float]:
        """Metadata of the artifact."""
        shared = self.collisions.metrics() if self.collisions else {}
        return {"rows": sum(self.rows.values()), "schema_hash": self.schema_hash, "code_version": VERSION, **shared}


def build(events: Path, items: Path, out: Path, config: FeatureOptions) -> FeatureSummary:
    """Write the feature folder.

    Layout: spec.json, timeline.json, items.parquet, users.parquet, {category,brand,token}.parquet, history/*.npy,
    statistics/<snapshot>.npy, neighbours/<snapshot>/*.npy, rows/<split>.parquet, cleaning.json. If events have ratings,
    rows/ratings.parquet has the rated visits and rows/ratings-validation.parquet the ratings of that window;
    if they have request_ids, requests.parquet has the shopper and time of these requests; if they have queries,
    queries.parquet has their number of searches.

    Raises:
        DataError: no events are left after cleaning, a split is empty, or content vectors differ in width.
        InputError: the disk is full.
    """
    with (
        disk_errors(out),
        atomic_directory(out) as folder,
        duckdb.connect(str(folder / "work.duckdb")) as database,
    ):
        database.execute(f"SET threads = {min(2, usable_cpus())}; SET memory_limit = '1500MB'; SET TimeZone = 'UTC'")
        database.execute(f"SET temp_directory = {literal(folder / 'spill')}")
        counts = clean(database, events, items, config.cleaning)
        for sentence in dropped(counts, config.cleaning):
            tell("build_features", sentence)
        apart = drop_time_outliers(database, config.cleaning.time_outlier_share)
        if apart.events:
            tell("build_features", str(apart))
        counts |= {"time_outliers_dropped": apart.events, "events_kept": counts["events_kept"] - apart.events}
        report("build_features", 0.2, f"{counts['events_kept']:,} events kept")
        target = target_event(database, config.target)
        timeline = Timeline.plan(*encode.span(database, target), config.horizon_days, config.snapshots)
        counts |= limit_outliers(database, timeline.retriever_end, config.cleaning)
        vocabularies = encode_items(database, folder, timeline.retriever_end, config.vocabulary)
        report("build_features", 0.4, f"{vocabularies.known_items:,} items")
        encode.write_history(database, folder / "history")
        encode.write_requests(database, folder / REQUESTS)
        encode.write_queries(database, folder / QUERIES)
        event = EVENT_TYPES.index(target)
        times = {**timeline.reference_times(), "serving": timeline.end}
        half_life = config.popularity_half_life_days
        encode.write_statistics(database, folder / "statistics", times, config.popularity_days, half_life, event)
        encode.write_neighbours(database, folder / "neighbours", times, event, config.similarity)
        report("build_features", 0.6, "histories, item statistics and neighbours")
        spec = make_spec(vocabularies, timeline, target, config)
        spec.write(folder / "spec.json")
        timeline.write(folder / "timeline.json")
        write_json(folder / "cleaning.json", counts)
        catalog = Catalog.read(folder / "items.parquet", spec, content=False)
        rows = _write_rows(database, folder, catalog, spec, timeline, event)
        checked = check_leakage(folder, timeline)
        database.close()
        for leftover in folder.glob("work.duckdb*"):
            leftover.unlink()
    report("build_features", 1.0, ", ".join(f"{name} {count:,}" for name, count in rows.items()))
    return FeatureSummary(cleaning=counts, rows=rows, known_users=vocabularies.known_users,
                          known_items=vocabularies.known_items, later_known=vocabularies.later_known,
                          leakage_checked=checked,
                          collisions=catalog.collisions(spec.item_hash_rows) if spec.item_hash_rows else None,
                          schema_hash=spec.schema_hash)  # fmt: skip


def make_spec(vocabularies: Vocabularies, timeline: Timeline, target_event: str, config: FeatureOptions) -> FeatureSpec:
    """Create the feature spec from the vocabularies and the configuration."""
    sizes = encode.sparse_sizes(vocabularies)
    lengths = {
        "user": 1, "sequence": config.sequence_length, "interest_category": config.interest_length,
        "interest_brand": config.interest_length, "query": config.query_length,
        "item": 1, "category": config.vocabulary.category_levels, "brand": 1, "price_bucket": 1,
        "title": config.vocabulary.title_length,
    }  # fmt: skip
    features = {name: SparseFeature(name=name, rows=sizes[name], max_length=lengths[name]) for name in sizes}
    names = list(features)
    return FeatureSpec(
        as_of=timeline.end, target_event=target_event, event_weights={**config.event_weights},
        half_life_days=config.half_life_days, interest_history=config.interest_history,
        max_history=config.max_history, user_features=tuple(features[name] for name in names[:5]),
        item_features=tuple(features[name] for name in names[5:]), price_edges=vocabularies.price_edges,
        price_log_mean=vocabularies.price_log_mean, price_log_std=vocabularies.price_log_std,
        popularity_days=config.popularity_days, schema_hash=schema_hash(EVENTS, ITEMS, USERS),
        popularity_half_life_days=config.popularity_half_life_days, item_hash_rows=vocabularies.item_hash_rows,
        content_dim=vocabularies.content_dim,
    )  # fmt: skip


def _write_rows(
    database: duckdb.DuckDBPyConnection, folder: Path, catalog: Catalog, spec: FeatureSpec, timeline: Timeline,
    event: int,
) -> dict[str, int]:  # fmt: skip
    """Write rows/<split>.parquet and return the number of rows of each."""
    (folder / "rows").mkdir()
    store = HistoryStore.open(folder / "history", spec.user("user").rows - 1)
    tokens = encode.token_rows(database)
    sources = {"retriever": encode.retriever_rows(database, timeline, event)}
    if encode.has_ratings(database, 0, timeline.retriever_end):
        sources[RATINGS] = encode.rating_rows(database, timeline)
    first = timeline.reference_times()["validation"]
    if encode.has_ratings(database, first, first + timeline.horizon):
        sources[f"{RATINGS}-validation"] = encode.rated_snapshot_rows(database, first, timeline.horizon)
    for name, as_of in timeline.reference_times().items():
        sources[name] = encode.snapshot_rows(database, as_of, timeline.horizon, event)
    counts = {}
    for name, source in sources.items():
        # One cursor at a time: DuckDB ends a connection's open result when the next query starts.
        counts[name] = 0
        schema = RATED_ROWS if name.startswith(RATINGS) else ROWS
        with pq.ParquetWriter(folder / "rows" / f"{name}.parquet", schema, compression="zstd") as writer:
            for batch in featurise(source, store, catalog, spec, tokens):
                writer.write_batch(batch)
                counts[name] += batch.num_rows
        if not counts[name]:
            raise DataError(
                f"split '{name}' is empty: there is no '{spec.target_event}' event in its window",
                "give events of a longer period or of more shoppers",
            )
    return counts


FEATURE_COLUMNS = ("user", "sequence", "interest_category", "interest_brand", "query")

ROWS = pa.schema(
    [
        pa.field("shopper", pa.int32()),
        pa.field("timestamp", pa.int64()),
        pa.field("last_event_at", pa.int64()),
        pa.field("targets", pa.list_(pa.int32())),
        *(
            field
            for name in FEATURE_COLUMNS
            for field in (
                pa.field(name, pa.list_(pa.int32())),
                pa.field(f"{name}_weight", pa.list_(pa.float32())),
            )
        ),
    ]
)
"""Schema of a split: list columns, so that a batch becomes a KeyedJaggedTensor without a loop over rows."""


RATED_ROWS = ROWS.append(pa.field(RATINGS, pa.list_(pa.float32())))
"""Schema of the rated visits: `ratings` has the rating of each target."""

_NO_EVENT = np.iinfo(np.int64).min
"""`last_event_at` of a row without history: before any timestamp."""


def featurise(
    source: Iterator[pa.RecordBatch], store: HistoryStore, catalog: Catalog, spec: FeatureSpec, tokens: dict[str, int]
) -> Iterator[pa.RecordBatch]:
    """Convert (user, timestamp, query, targets) batches to ROWS batches, those with ratings to RATED_ROWS."""
    length = spec.user("query").max_length
    for batch in source:
        shopper = batch.column("user").to_numpy().astype(np.int64)
        now = batch.column("timestamp").to_numpy()
        histories = store.before(shopper, now, spec.max_history)
        query = query_features(batch.column("query").to_pylist(), tokens, length)
        features = shopper_features(histories, catalog, spec, query)
        some = np.diff(histories.offsets) > 0
        newest = np.full(len(shopper), _NO_EVENT, np.int64)
        newest[some] = histories.timestamp[histories.offsets[1:][some] - 1]
        lists = [column for name in FEATURE_COLUMNS for column in features[name].to_arrow()]
        ratings = [batch.column(RATINGS)] if RATINGS in batch.schema.names else []
        yield pa.RecordBatch.from_arrays(
            [
                pa.array(shopper.astype(np.int32)), pa.array(now), pa.array(newest),
                batch.column("targets").cast(pa.list_(pa.int32())), *lists, *ratings,
            ],
            schema=RATED_ROWS if ratings else ROWS,
        )  # fmt: skip
