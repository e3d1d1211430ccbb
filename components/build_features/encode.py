"""Encoded histories, item statistics and sources of rows: SQL over the cleaned events, streamed to disk."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from scipy import sparse

from components.build_features.queries import count, literal, only_row
from components.build_features.vocabulary import Vocabularies
from components.shared.disk import new_array
from components.shared.errors import InputError
from components.shared.features.columns import POPULARITY_WINDOWS, ItemStatistic
from components.shared.features.history import COLUMNS
from components.shared.features.spec import DAY
from components.shared.recommender.similarity import SimilarityConfig, cosine_neighbours
from components.shared.schema.tables import EVENT_TYPES
from components.shared.schema.timeline import Timeline

_TYPE_CODE = (
    "CASE event_type " + " ".join(f"WHEN '{name}' THEN {code}" for code, name in enumerate(EVENT_TYPES)) + " END"
)


_MOST_QUERIES = 100_000


def write_history(database: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Create table `encoded` and write it as one .npy file per column, sorted by shopper and time, plus offsets.

    Timestamps are truncated to whole seconds, as the predictor truncates those of a request.
    """
    folder.mkdir()
    database.execute(
        f"CREATE TABLE encoded AS SELECT user_row.row AS user, item_row.row AS item, ({_TYPE_CODE})::TINYINT AS "
        "event_type, floor(epoch(timestamp))::BIGINT AS timestamp, price, query, rating, "
        "coalesce(session_id, timestamp::date::VARCHAR) AS session FROM clean JOIN user_row USING (user_id) "
        "JOIN item_row USING (item_id)"
    )
    total, users = count(database, "encoded"), count(database, "user_row")
    columns = {name: new_array(folder / f"{name}.npy", dtype, total) for name, dtype in COLUMNS.items()}
    reader = database.sql(
        f"SELECT {', '.join(COLUMNS)} FROM encoded ORDER BY user, timestamp, item, event_type, price"
    ).to_arrow_reader(100_000)
    at = 0
    for batch in reader:
        for name, column in columns.items():
            values = batch.column(name).to_numpy(zero_copy_only=False)
            column[at : at + len(values)] = values
        at += batch.num_rows
    for column in columns.values():
        column.flush()
    counts = database.execute("SELECT user, count(*) AS events FROM encoded GROUP BY user").fetchnumpy()
    lengths = np.zeros(users + 1, np.int64)
    lengths[counts["user"]] = counts["events"]
    np.save(folder / "offsets.npy", np.r_[0, np.cumsum(lengths)])


def write_requests(database: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Write (request_id, shopper, timestamp) of each predictor request that events refer to, if there are any.

    A request belongs to the shopper of its events; requests with events of several shoppers are omitted.
    """
    requests = (
        "(SELECT request_id, min(row)::INTEGER AS shopper, floor(epoch(min(timestamp)))::BIGINT AS timestamp "
        "FROM clean JOIN user_row USING (user_id) WHERE request_id IS NOT NULL GROUP BY request_id "
        "HAVING min(row) = max(row))"
    )
    if count(database, requests):
        ordered = f"(FROM {requests} ORDER BY timestamp, request_id)"
        database.execute(f"COPY {ordered} TO {literal(path)} (FORMAT parquet)")


def write_queries(database: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Write (query, searches) of the most frequent queries, if there are any; case and outer blanks do not count.

    Queries of a single shopper, which may be private, are omitted: they would be suggested to others.
    """
    queries = (
        "(SELECT lower(trim(query)) AS query, count(*) AS searches FROM clean WHERE trim(query) <> '' "
        f"GROUP BY 1 HAVING count(DISTINCT user_id) >= 2 ORDER BY searches DESC, query LIMIT {_MOST_QUERIES})"
    )
    if count(database, queries):
        database.execute(f"COPY {queries} TO {literal(path)} (FORMAT parquet)")


def write_statistics(
    database: duckdb.DuckDBPyConnection, folder: Path, reference_times: dict[str, int], windows: tuple[int, ...],
    half_life_days: float, event: int,
) -> None:  # fmt: skip
    """Write the item statistics as of each reference time, one float32 [items, len(ItemStatistic)] array each.

    Raises:
        InputError: the half-life is not positive.
    """
    if not half_life_days > 0:
        raise InputError(f"popularity_half_life_days is {half_life_days}", "give a positive half-life in days")
    folder.mkdir()
    items = count(database, "item_row") + 1
    longest = max(windows)
    for name, as_of in reference_times.items():
        counts = ", ".join(
            f"count(*) FILTER (WHERE timestamp >= {as_of - days * DAY}) AS window_{days}" for days in windows
        )
        found = database.execute(
            f"SELECT item, {counts}, count(DISTINCT user) AS buyers FROM encoded WHERE event_type = {event} "
            f"AND timestamp < {as_of} AND timestamp >= {as_of - longest * DAY} GROUP BY item"
        ).fetchnumpy()
        repeats = database.execute(
            "SELECT item, count(*) AS repeats FROM (SELECT item, user FROM encoded WHERE "
            f"event_type = {event} AND timestamp < {as_of} AND timestamp >= {as_of - longest * DAY} "
            f"GROUP BY item, user HAVING count(DISTINCT timestamp // {DAY}) > 1) GROUP BY item"
        ).fetchnumpy()
        new = database.execute(
            f"SELECT item, count(*) FILTER (WHERE first >= {as_of - windows[0] * DAY}) AS short, count(*) AS middle "
            f"FROM (SELECT item, user, min(timestamp) AS first FROM encoded WHERE event_type = {event} "
            f"AND timestamp < {as_of} GROUP BY item, user) WHERE first >= {as_of - windows[1] * DAY} GROUP BY item"
        ).fetchnumpy()
        table = np.zeros((items, len(ItemStatistic)), np.float32)
        for column, days in zip(POPULARITY_WINDOWS, windows, strict=True):
            table[found["item"], column] = found[f"window_{days}"]
        table[found["item"], ItemStatistic.BUYERS] = found["buyers"]
        again = repeats["item"]
        table[again, ItemStatistic.REPEAT_RATE] = repeats["repeats"] / table[again, ItemStatistic.BUYERS]
        table[new["item"], ItemStatistic.DISCOVERY_SHORT] = new["short"]
        table[new["item"], ItemStatistic.DISCOVERY_MIDDLE] = new["middle"]
        row, decayed = _decayed_popularity(database, as_of, half_life_days, event)
        table[row, ItemStatistic.POPULARITY_DECAYED] = decayed
        np.save(folder / f"{name}.npy", table)


def _decayed_popularity(
    database: duckdb.DuckDBPyConnection, as_of: int, half_life_days: float, event: int
) -> tuple[np.ndarray, np.ndarray]:
    """Items and their sums of 2 ** -(age / half-life) over the target events before `as_of`."""
    # Rounded, because the order in which threads add values must not change the artifact.
    found = database.execute(
        f"SELECT item, round(sum(pow(2.0, (timestamp - {as_of}) / {half_life_days * DAY})), 6) AS decayed "
        f"FROM encoded WHERE event_type = {event} AND timestamp < {as_of} GROUP BY item"
    ).fetchnumpy()
    return np.asarray(found["item"]), np.asarray(found["decayed"])


def write_neighbours(
    database: duckdb.DuckDBPyConnection, folder: Path, reference_times: dict[str, int], event: int,
    config: SimilarityConfig,
) -> None:  # fmt: skip
    """Write neighbours/<name>/: the nearest neighbours of each item by common buyers before a reference time."""
    shape = (count(database, "user_row") + 1, count(database, "item_row") + 1)
    for name, as_of in reference_times.items():
        found = database.execute(
            "SELECT DISTINCT user, item FROM encoded SEMI JOIN (SELECT row AS user FROM user_row "
            "ORDER BY hash(row), row LIMIT ?) USING (user) WHERE event_type = ? AND timestamp < ?",
            [config.max_shoppers, event, as_of],
        ).fetchnumpy()
        ones = np.ones(len(found["user"]), np.float32)
        taken = sparse.csr_matrix((ones, (found["user"], found["item"])), shape=shape)
        cosine_neighbours(taken, config).save(folder / name)


def retriever_rows(database: duckdb.DuckDBPyConnection, timeline: Timeline, event: int) -> Iterator[pa.RecordBatch]:
    """(user, timestamp, query, targets) of every visit with a target event, and of every search that led to an item.

    Rows are ordered by a hash of user and timestamp, so that the rows of a batch are unrelated.
    """
    yield from database.sql(
        "SELECT user, timestamp, query, targets FROM ("
        "SELECT user, min(timestamp) AS timestamp, NULL::VARCHAR AS query, list(DISTINCT item ORDER BY item) "
        f"AS targets FROM encoded WHERE event_type = {event} AND timestamp < {timeline.retriever_end} "
        "GROUP BY user, session UNION ALL SELECT user, timestamp, query, [item] FROM encoded WHERE query IS NOT NULL "
        f"AND timestamp < {timeline.retriever_end}) ORDER BY hash(user, timestamp), user, timestamp, query, targets"
    ).to_arrow_reader(8_192)


def rating_rows(database: duckdb.DuckDBPyConnection, timeline: Timeline) -> Iterator[pa.RecordBatch]:
    """(user, timestamp, query, targets, ratings) of every visit with a rating.

    An item that is rated several times in a visit has its last rating. Order: see retriever_rows.
    """
    yield from database.sql(
        "SELECT user, min(first) AS timestamp, NULL::VARCHAR AS query, list(item ORDER BY item) AS targets, "
        "list(rating ORDER BY item) AS ratings FROM (SELECT user, session, item, min(timestamp) AS first, "
        "list(rating ORDER BY timestamp, rating)[-1] AS rating FROM encoded WHERE rating IS NOT NULL "
        f"AND timestamp < {timeline.retriever_end} GROUP BY user, session, item) GROUP BY user, session "
        "ORDER BY hash(user, timestamp), user, timestamp, targets"
    ).to_arrow_reader(8_192)


def has_ratings(database: duckdb.DuckDBPyConnection, start: int, end: int) -> bool:
    """Whether an event at or after `start` and before `end` has a rating."""
    return bool(count(database, f"encoded WHERE rating IS NOT NULL AND timestamp >= {start} AND timestamp < {end}"))


def rated_snapshot_rows(database: duckdb.DuckDBPyConnection, as_of: int, horizon: int) -> Iterator[pa.RecordBatch]:
    """(user, timestamp, query, targets, ratings) of every shopper with a rating within `horizon` after `as_of`."""
    yield from database.sql(
        f"SELECT user, {as_of}::BIGINT AS timestamp, NULL::VARCHAR AS query, list(item ORDER BY item) AS targets, "
        "list(rating ORDER BY item) AS ratings FROM (SELECT user, item, list(rating ORDER BY timestamp, rating)[-1] "
        f"AS rating FROM encoded WHERE rating IS NOT NULL AND timestamp >= {as_of} AND timestamp < {as_of + horizon} "
        "GROUP BY user, item) GROUP BY user ORDER BY user"
    ).to_arrow_reader(8_192)


def snapshot_rows(
    database: duckdb.DuckDBPyConnection, as_of: int, horizon: int, event: int
) -> Iterator[pa.RecordBatch]:
    """(user, timestamp, query, targets) of every shopper with a target event within `horizon` after `as_of`."""
    yield from database.sql(
        f"SELECT user, {as_of}::BIGINT AS timestamp, NULL::VARCHAR AS query, list(DISTINCT item ORDER BY item) AS "
        f"targets FROM encoded WHERE event_type = {event} AND timestamp >= {as_of} AND timestamp < {as_of + horizon} "
        "GROUP BY user ORDER BY user"
    ).to_arrow_reader(8_192)


def token_rows(database: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Row of every token in the title vocabulary."""
    return dict(database.execute("SELECT value, row FROM token_vocabulary").fetchall())


def span(database: duckdb.DuckDBPyConnection, event_type: str) -> tuple[int, int]:
    """Epoch seconds of the first and the last event of the type with an item."""
    first, last = only_row(
        database,
        "SELECT floor(epoch(min(timestamp)))::BIGINT, floor(epoch(max(timestamp)))::BIGINT FROM clean "
        "WHERE event_type = ? AND item_id IS NOT NULL",
        [event_type],
    )
    return first, last


def sparse_sizes(vocabularies: Vocabularies) -> dict[str, int]:
    """Number of table rows of every sparse feature."""
    return {
        "user": vocabularies.known_users + 1,
        "sequence": vocabularies.known_items + 1 + vocabularies.item_hash_rows,
        "interest_category": vocabularies.categories,
        "interest_brand": vocabularies.brands,
        "query": vocabularies.tokens,
        "item": vocabularies.known_items + 1 + vocabularies.item_hash_rows,
        "category": vocabularies.categories,
        "brand": vocabularies.brands,
        "price_bucket": len(vocabularies.price_edges) + 2,
        "title": vocabularies.tokens,
    }
