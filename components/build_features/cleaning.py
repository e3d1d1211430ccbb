"""Cleaning rules in SQL; each rule counts the rows that it changes or drops."""

from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from components.build_features.config import CleaningConfig
from components.build_features.queries import count, literal, only_row
from components.shared.errors import DataError, InputError, SchemaError
from components.shared.schema.tables import EVENTS
from components.shared.wording import counted


def clean(database: duckdb.DuckDBPyConnection, events: Path, items: Path, config: CleaningConfig) -> dict[str, int]:
    """Create table `clean` and view `items`; return the number of rows affected by each rule.

    Rules, in order: exact duplicates are merged; robots are dropped; events of items outside the catalog are
    dropped. `limit_outliers` is the last rule and needs the timeline.

    Raises:
        InputError: a folder has no Parquet file, or events lack a column of the data contract.
        DataError: no event is left.
    """
    for name, folder in (("events", events), ("items", items)):
        if not any(folder.rglob("*.parquet")):
            raise InputError(f"{name}: {folder} has no Parquet file", "run ingest_events and give its output")
    _check_columns(events)
    database.execute(
        "CREATE TABLE raw AS SELECT user_id, item_id, event_type, timestamp, query, session_id, quantity, price, "
        f"rating, request_id FROM read_parquet({literal(events / '**/*.parquet')}, hive_partitioning = false)"
    )
    database.execute(f"CREATE VIEW items AS SELECT * FROM read_parquet({literal(items / '*.parquet')})")
    counts = {"events_read": count(database, "raw")}
    database.execute("CREATE TABLE single AS SELECT DISTINCT * FROM raw")
    counts["duplicates_merged"] = counts["events_read"] - count(database, "single")
    database.execute(
        "CREATE TABLE human AS SELECT * FROM single ANTI JOIN (SELECT DISTINCT user_id FROM (SELECT user_id, "
        "timestamp::date AS day, count(*) AS events FROM single GROUP BY ALL) WHERE events > ?) USING (user_id)",
        [config.robot_events_per_day],
    )
    counts["robot_events_dropped"] = count(database, "single") - count(database, "human")
    counts["robots"] = count(database, "(SELECT DISTINCT user_id FROM single ANTI JOIN human USING (user_id))")
    database.execute("CREATE TABLE clean AS SELECT * FROM human WHERE item_id IS NULL OR item_id IN "
                     "(SELECT item_id FROM items)")  # fmt: skip
    counts["orphan_events_dropped"] = count(database, "human") - count(database, "clean")
    for table in ("raw", "single", "human"):
        database.execute(f"DROP TABLE {table}")
    counts["events_kept"] = count(database, "clean")
    if not counts["events_kept"]:
        raise DataError(
            f"no event is left after cleaning ({counts})",
            "check the events and items; the counts show which rule dropped them",
        )
    return counts


def dropped(counts: dict[str, int], config: CleaningConfig) -> list[str]:
    """Sentences about the events that `clean` dropped, with the option that decides it; [] if none."""
    limit = f"more than {config.robot_events_per_day:,} events on a day (features.cleaning.robot_events_per_day)"
    rules = {
        "duplicates_merged": "events repeat another one and are merged",
        "robot_events_dropped": f"events of {counted(counts['robots'], 'shopper')} with {limit} are dropped",
        "orphan_events_dropped": "events of items that are not in the catalog are dropped",
    }
    return [f"{counts[rule]:,} of {counts['events_read']:,} {text}" for rule, text in rules.items() if counts[rule]]


def _check_columns(events: Path) -> None:
    for file in sorted(events.rglob("*.parquet")):
        missing = [name for name in EVENTS.names if name not in pq.read_schema(file).names]
        if missing:
            raise SchemaError(f"events ({file.name}) lack the column '{missing[0]}'",
                              "ingest them again with this shoprank version")  # fmt: skip


def limit_outliers(database: duckdb.DuckDBPyConnection, retriever_end: int, config: CleaningConfig) -> dict[str, int]:
    """Set outlying prices of table `clean` to null and cap outlying quantities; return the number of each.

    The limits come from events before `retriever_end`, so that later prices do not affect the features of earlier
    events. A column without a positive value there has no limit.
    """
    limits = only_row(
        database,
        "SELECT 10 * quantile_cont(price, ?), quantile_cont(quantity, ?) FROM clean WHERE epoch(timestamp) < ?",
        [config.price_quantile, config.quantity_quantile, retriever_end],
    )
    found = {}
    for (name, instead), limit in zip({"price": "NULL", "quantity": "?"}.items(), limits, strict=True):
        found[f"{name}_outliers"] = count(database, f"clean WHERE {name} > {limit}") if limit else 0
        if found[f"{name}_outliers"]:
            parameters = [limit] * (1 + instead.count("?"))
            database.execute(f"UPDATE clean SET {name} = {instead} WHERE {name} > ?", parameters)
    return found
