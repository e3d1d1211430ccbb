"""Cleaning by stated rules, in SQL; every rule counts what it touched and nothing leaves in silence."""

from dataclasses import dataclass
from pathlib import Path

import duckdb

from components.shared.errors import DataError


@dataclass(frozen=True, kw_only=True)
class CleaningConfig:
    """Thresholds of the cleaning rules."""

    robot_events_per_day: int = 2_000
    """A shopper with more events than this on any day is a robot; all of its events are dropped."""
    price_quantile: float = 0.999
    """A price above ten times this quantile of all prices is an outlier and becomes unknown."""
    quantity_quantile: float = 0.999
    """Quantities are capped at this quantile."""


def clean(database: duckdb.DuckDBPyConnection, events: Path, items: Path, config: CleaningConfig) -> dict[str, int]:
    """Make table `clean` from the events and return how many rows each rule touched.

    Rules, in order: exact duplicates are merged; robots are dropped; events of items outside the catalogue are
    dropped; outlying prices become null; outlying quantities are capped.

    Raises:
        DataError: no event is left.
    """
    database.execute(
        f"CREATE TABLE raw AS SELECT user_id, item_id, event_type, timestamp, query, session_id, quantity, price "
        f"FROM read_parquet('{events}/**/*.parquet', hive_partitioning = false)"
    )
    database.execute(f"CREATE VIEW items AS SELECT * FROM read_parquet('{items}/*.parquet')")
    count = lambda table: int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: E731
    counts = {"events_read": count("raw")}
    database.execute("CREATE TABLE single AS SELECT DISTINCT * FROM raw")
    counts["duplicates_merged"] = counts["events_read"] - count("single")
    database.execute(
        "CREATE TABLE human AS SELECT * FROM single ANTI JOIN (SELECT DISTINCT user_id FROM (SELECT user_id, "
        "timestamp::date AS day, count(*) AS events FROM single GROUP BY ALL) WHERE events > ?) USING (user_id)",
        [config.robot_events_per_day],
    )
    counts["robot_events_dropped"] = count("single") - count("human")
    database.execute("CREATE TABLE listed AS SELECT * FROM human WHERE item_id IS NULL OR item_id IN "
                     "(SELECT item_id FROM items)")  # fmt: skip
    counts["orphan_events_dropped"] = count("human") - count("listed")
    price_limit, quantity_limit = database.execute(
        "SELECT 10 * quantile_cont(price, ?), quantile_cont(quantity, ?) FROM listed",
        [config.price_quantile, config.quantity_quantile],
    ).fetchone()
    limits = {"price": price_limit or 0.0, "quantity": quantity_limit or 0.0}
    for name, limit in limits.items():
        counts[f"{name}_outliers"] = int(
            database.execute(f"SELECT count(*) FROM listed WHERE {name} > ?", [limit]).fetchone()[0]
        )
    database.execute(
        "CREATE TABLE clean AS SELECT * REPLACE (CASE WHEN price <= ? THEN price END AS price, "
        "least(quantity, ?) AS quantity) FROM listed",
        [limits["price"], limits["quantity"]],
    )
    for table in ("raw", "single", "human", "listed"):
        database.execute(f"DROP TABLE {table}")
    counts["events_kept"] = count("clean")
    if not counts["events_kept"]:
        raise DataError(
            f"no event is left after cleaning ({counts})",
            "check the events and the item table; the counts say which rule took them",
        )
    return counts
