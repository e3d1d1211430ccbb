"""Statistics of the three tables, used by the rules and the page and as the baseline of drift.

Layout of the JSON:

    tables.<table>.rows
    tables.<table>.columns.<column>  count, nulls, null_rate, and by type
        numbers:    min, max, mean, std, quantiles {"0.1": x, ...}, histogram {edges: n + 1, counts: n}
        strings:    distinct (approximate, ids of events exact), top [{value, count}] where values repeat
        timestamps: min, max;  booleans: true_rate;  lists, maps: top elements or keys
    events_per_day {day: count}, event_mix {type: count}
    users, items, sessions: number of distinct ids in the events (exact) and quantiles of their events
"""

import itertools
from typing import Any

import pyarrow as pa

from components.validate_data.tables import SCHEMAS, Tables

VERSION = 1
"""Version of the layout above."""

QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
_BIN_QUANTILES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
EXACT_QUANTILE_ROWS = 10_000_000
"""Quantiles are exact up to this number of rows; beyond it they are t-digest estimates in constant memory."""
TOP = 20
"""Number of most frequent values kept."""

_TOP_COLUMNS = {"events": ("event_type", "query"), "items": ("brand",), "users": ()}
"""String columns with repeated values; the top values of user_id and item_id come from the count tables."""


def profile(tables: Tables) -> dict[str, Any]:
    """Compute the statistics.

    Args:
        tables: With the views events, items and users; the temporary tables user_counts, item_counts and
            session_counts (id, n) are created in it and remain for the rules and the page.
    """
    for name, column in (("user_counts", "user_id"), ("item_counts", "item_id"), ("session_counts", "session_id")):
        query = f"SELECT {column} AS id, count(*) AS n FROM events WHERE {column} IS NOT NULL GROUP BY ALL"
        tables.create(name, query)
    days = "SELECT timestamp::DATE::VARCHAR AS day, count(*) FROM events WHERE isfinite(timestamp) GROUP BY ALL"
    statistics: dict[str, Any] = {
        "version": VERSION,
        "tables": {name: _table(tables, name, schema) for name, schema in SCHEMAS.items()},
        "events_per_day": dict(tables.rows(f"{days} ORDER BY day")),
        "event_mix": dict(
            tables.rows("SELECT coalesce(event_type, 'null'), count(*) FROM events GROUP BY 1 ORDER BY 1")
        ),
    }
    for noun in ("user", "item", "session"):
        statistics[f"{noun}s"] = _counted(tables, f"{noun}_counts")
    columns = statistics["tables"]["events"]["columns"]
    for noun in ("user", "item", "session"):
        columns[f"{noun}_id"]["distinct"] = statistics[f"{noun}s"]["distinct"]
        if noun != "session":
            columns[f"{noun}_id"]["top"] = _top(tables, f"{noun}_counts", "id", "sum(n)")
    return statistics


def _table(tables: Tables, name: str, schema: pa.Schema) -> dict[str, Any]:
    """Statistics of every column of a table; one scan computes all single-pass aggregates."""
    rows: int = tables.row(f"SELECT count(*) FROM {name}")[0]
    parts = {field.name: _aggregates(field, rows <= EXACT_QUANTILE_ROWS) for field in schema}
    wanted = ", ".join(expression for part in parts.values() for expression in part.values())
    found = iter(tables.row(f"SELECT {wanted} FROM {name}"))
    columns: dict[str, Any] = {}
    for field in schema:
        values = {key: next(found) for key in parts[field.name]}
        if "distinct" in values:
            values["distinct"] = min(values["distinct"], values["count"])
        values["nulls"] = rows - values["count"]
        values["null_rate"] = values["nulls"] / rows if rows else 0.0
        if values.get("quantiles"):
            values["histogram"] = _histogram(tables, name, field.name, values["quantiles"])
            values["quantiles"] = {str(q): v for q, v in zip(QUANTILES, values["quantiles"], strict=True)}
        columns[field.name] = values
    for column in _TOP_COLUMNS[name]:
        columns[column]["top"] = _top(tables, name, column)
    if name == "items":
        columns["categories"]["top"] = _top(tables, "(SELECT unnest(categories) AS category FROM items)", "category")
    if name != "events":
        keys = f"(SELECT unnest(map_keys(attributes)) AS key FROM {name})"
        columns["attributes"]["top"] = _top(tables, keys, "key")
    return {"rows": rows, "columns": {name: _rounded(column) for name, column in columns.items()}}


def _aggregates(field: pa.Field, exact: bool) -> dict[str, str]:
    """Statistic -> SQL for one column, by its type."""
    name = field.name
    found = {"count": f"count({name})"}
    if pa.types.is_string(field.type):
        found["distinct"] = f"approx_count_distinct({name})"
    elif pa.types.is_floating(field.type):
        finite = f"FILTER (isfinite({name}))"
        quantile = "quantile_cont" if exact else "approx_quantile"
        found["min"], found["max"] = f"min({name}) {finite}", f"max({name}) {finite}"
        found["mean"], found["std"] = f"avg({name}::DOUBLE) {finite}", f"stddev_pop({name}::DOUBLE) {finite}"
        found["quantiles"] = f"{quantile}({name}::DOUBLE, {list(QUANTILES)}) {finite}"
    elif pa.types.is_timestamp(field.type):
        found["min"], found["max"] = f"min({name})::VARCHAR", f"max({name})::VARCHAR"
    elif pa.types.is_boolean(field.type):
        found["true_rate"] = f"avg({name}::INTEGER)"
    elif pa.types.is_list(field.type):
        found["shortest"], found["longest"] = f"min(len({name}))", f"max(len({name}))"
    return found


def _histogram(tables: Tables, table: str, column: str, quantiles: list[float]) -> dict[str, list[Any]]:
    """Counts between the deciles; bins include their right edge, the first bin also its left edge."""
    deciles = [quantiles[QUANTILES.index(q)] for q in _BIN_QUANTILES]
    edges = list(dict.fromkeys(deciles))
    inner = edges[1:-1]
    up_to = [f"count(*) FILTER ({column}::DOUBLE <= {edge!r})" for edge in inner]
    *cumulative, total = tables.row(f"SELECT {', '.join([*up_to, 'count(*)'])} FROM {table} WHERE isfinite({column})")
    bounds = [0, *cumulative, total]
    counts = [after - before for before, after in itertools.pairwise(bounds)]
    return {"edges": edges if len(edges) > 1 else edges * 2, "counts": counts}


def _top(tables: Tables, relation: str, column: str, count: str = "count(*)") -> list[dict[str, Any]]:
    query = f"SELECT {column}, {count}::BIGINT AS n FROM {relation} WHERE {column} IS NOT NULL GROUP BY 1"
    return [{"value": value, "count": n} for value, n in tables.rows(f"{query} ORDER BY n DESC, 1 LIMIT {TOP}")]


def _counted(tables: Tables, name: str) -> dict[str, Any]:
    distinct, *events = tables.row(
        f"SELECT count(*), min(n), approx_quantile(n, 0.5), approx_quantile(n, 0.9), max(n) FROM {name}"
    )
    return {"distinct": distinct, "events": dict(zip(("min", "p50", "p90", "max"), events, strict=True))}


def _rounded(column: dict[str, Any]) -> dict[str, Any]:
    """Round ratios, means and deviations to six significant digits, beyond which sums over threads differ.

    Quantiles and edges are not rounded, because a value must fall into the same bin again.
    """
    return {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in column.items()}
