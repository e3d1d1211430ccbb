"""What ingestion.py measures: a file of raw events to sorted Parquet by day, with shoprank, polars and DuckDB.

Each trims ids and reads words for a missing value, lowers event types, reads times that are an epoch or ISO 8601, reads
prices as numbers, leaves out invalid rows, and writes the others sorted by time. shoprank also writes items, users and
the rejected rows with their reasons, and reads more forms of ids, times and prices.
"""

from collections.abc import Callable
from pathlib import Path

from components.shared.schema.identifiers import NULL_WORDS
from components.shared.schema.tables import EVENT_TYPES

COLUMNS: tuple[str, ...] = ("user_id", "item_id", "event_type", "timestamp", "price")
_IDS = ("user_id", "item_id")
_SECONDS = (100_000_000, 7_258_118_400)
"""Epochs of 1973 to 2200; a thousand times as much is in milliseconds."""
_ISO = "%Y-%m-%dT%H:%M:%SZ"


def written_rows(folder: Path) -> int:
    """Rows of the Parquet files in a folder of days."""
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(path).num_rows for path in (folder / "events").rglob("*.parquet"))


def shoprank_reads(source: Path, target: Path) -> None:
    """With ingest_events."""
    from components.ingest_events.ingest import IngestOutputs, ingest

    ingest(str(source), IngestOutputs(**{name: target / name for name in ("events", "items", "users", "rejected")}))


def polars_reads(source: Path, target: Path) -> None:
    """With the streaming engine of polars."""
    import polars as pl

    texts = dict.fromkeys(COLUMNS, pl.String)
    scans = {
        ".csv": lambda: pl.scan_csv(source, schema=texts), ".parquet": lambda: pl.scan_parquet(source),
        ".jsonl": lambda: pl.scan_ndjson(source, schema=texts),
    }  # fmt: skip
    plain = {name: pl.col(name).str.strip_chars() for name in COLUMNS}
    number = plain["timestamp"].cast(pl.Float64, strict=False)
    (first, last), us = _SECONDS, pl.Datetime("us", "UTC")
    time = (
        pl.when(number.is_between(first, last)).then((number * 1e6).cast(pl.Int64, strict=False).cast(us))
        .when(number.is_between(first * 1000, last * 1000)).then((number * 1e3).cast(pl.Int64, strict=False).cast(us))
        .otherwise(plain["timestamp"].str.to_datetime(_ISO, time_unit="us", time_zone="UTC", strict=False))
    )  # fmt: skip
    ids = [
        pl.when(~plain[name].str.to_lowercase().is_in(["", *NULL_WORDS])).then(plain[name]).alias(name) for name in _IDS
    ]
    price = plain["price"].cast(pl.Float32, strict=False)
    read = scans[source.suffix]().select(
        *ids, plain["event_type"].str.to_lowercase(), time.alias("timestamp"), price.alias("price")
    )
    valid = read.filter(
        pl.col("user_id").is_not_null(), pl.col("item_id").is_not_null(), pl.col("timestamp").is_not_null(),
        pl.col("event_type").is_in(list(EVENT_TYPES)), pl.col("price").is_null() | (pl.col("price") >= 0),
    )  # fmt: skip
    days = pl.PartitionBy(target / "events", key=pl.col("timestamp").dt.date().alias("date"))
    valid.sort("timestamp", "user_id").sink_parquet(days, compression="zstd", mkdir=True, engine="streaming")


def duckdb_reads(source: Path, target: Path) -> None:
    """With one statement of DuckDB."""
    import duckdb

    from components.ingest_events.sql import literal

    texts = ", ".join(f"'{name}': 'VARCHAR'" for name in COLUMNS)
    scans = {
        ".csv": f"read_csv({literal(str(source))}, columns = {{{texts}}}, header = true)",
        ".jsonl": f"read_json({literal(str(source))}, columns = {{{texts}}}, format = 'newline_delimited')",
        ".parquet": f"read_parquet({literal(str(source))})",
    }
    words = ", ".join(map(literal, ["", *NULL_WORDS]))
    ids = ", ".join(f"CASE WHEN lower(trim({name})) NOT IN ({words}) THEN trim({name}) END AS {name}" for name in _IDS)
    number, (first, last) = "TRY_CAST(trim(timestamp) AS DOUBLE)", _SECONDS
    time = (
        f"CASE WHEN {number} BETWEEN {first} AND {last} THEN make_timestamp(({number} * 1e6)::BIGINT)::TIMESTAMPTZ "
        f"WHEN {number} BETWEEN {first}000 AND {last}000 THEN make_timestamp(({number} * 1e3)::BIGINT)::TIMESTAMPTZ "
        "ELSE TRY_CAST(trim(timestamp) AS TIMESTAMPTZ) END AS timestamp"
    )
    price = "TRY_CAST(trim(price) AS FLOAT) AS price"
    read = f"SELECT {ids}, lower(trim(event_type)) AS event_type, {time}, {price} FROM {scans[source.suffix]}"
    types = ", ".join(map(literal, EVENT_TYPES))
    valid = (
        f"SELECT *, timestamp::DATE AS date FROM ({read}) WHERE user_id IS NOT NULL AND item_id IS NOT NULL AND "
        f"timestamp IS NOT NULL AND event_type IN ({types}) AND coalesce(price >= 0, true) ORDER BY timestamp, user_id"
    )
    (target / "events").mkdir(parents=True)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        where = literal(str(target / "events"))
        connection.execute(f"COPY ({valid}) TO {where} (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (date))")


PROGRAMS: dict[str, Callable[[Path, Path], None]] = {
    "shoprank": shoprank_reads, "polars": polars_reads, "duckdb": duckdb_reads,
}  # fmt: skip
"""Name -> function of a source and a folder."""
