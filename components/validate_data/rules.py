"""Validation rules; each is a function that yields findings from the statistics and a few aggregates."""

from collections.abc import Iterator
from datetime import timedelta

from components.shared.schema.tables import EVENT_TYPES
from components.shared.wording import counted
from components.validate_data.findings import Context, Finding, Level

_AGAIN = "fix the source or the column mapping and run ingest_events again"
_USEFUL = {"events": ("session_id",), "items": ("title", "categories", "price")}


def null_rates(context: Context) -> Iterator[Finding]:
    """Required columns have no nulls; useful columns have few."""
    for column in ("events.user_id", "events.event_type", "events.timestamp", "items.item_id", "users.user_id"):
        condition = f"{column.partition('.')[2]} IS NULL"
        yield from context.breaches("null_rate", column, condition, (0.0, 0.0), f"the column is required: {_AGAIN}")
    missing = "item_id IS NULL AND (event_type <> 'search' OR query IS NULL)"
    fix = f"only a search with a query may lack an item: {_AGAIN}"
    yield from context.breaches("null_rate", "events.item_id", missing, (0.0, 0.0), fix)
    for table, columns in _USEFUL.items():
        for column in columns:
            nulls = context.statistics["tables"][table]["columns"][column]["nulls"]
            limits = (context.options.null_warning, None)
            fix = "map a column with this data if there is one; it improves the models"
            yield from context.graded("null_rate", f"{table}.{column}", nulls, limits, fix)


def unique_ids(context: Context) -> Iterator[Finding]:
    """Item ids are unique in the catalog, and user ids in the users."""
    for table, key in (("items", "item_id"), ("users", "user_id")):
        repeated = f"(SELECT {key}, count(*) AS n FROM {table} WHERE {key} IS NOT NULL GROUP BY 1 HAVING count(*) > 1)"
        count = int(context.tables.row(f"SELECT coalesce(sum(n - 1), 0) FROM {repeated}")[0])
        fix = "keep one row for each id; ingest_events does so"
        yield from context.graded("unique_ids", f"{table}.{key}", count, (0.0, 0.0), fix, repeated)


def value_ranges(context: Context) -> Iterator[Finding]:
    """Prices and quantities are finite, not negative and below a maximum."""
    limits = {
        "events.price": context.options.max_price,
        "events.quantity": context.options.max_quantity,
        "items.price": context.options.max_price,
    }
    for column, largest in limits.items():
        name = column.partition(".")[2]
        impossible = f"(NOT isfinite({name}) OR {name} < 0)"
        yield from context.breaches("value_range", column, impossible, (0.0, 0.0), f"invalid {name}: {_AGAIN}")
        fix = f"check the unit; raise max_{name} if the values are correct"
        yield from context.breaches("value_range", column, f"isfinite({name}) AND {name} > {largest}", (0.0, None), fix)


def content_vectors(context: Context) -> Iterator[Finding]:
    """All content vectors have the same length; items may have none."""
    column = context.statistics["tables"]["items"]["columns"]["content_vector"]
    if column["count"] and column["shortest"] != column["longest"]:
        odd = f"items WHERE len(content_vector) NOT IN (0, {column['longest']})"
        count = context.tables.row(f"SELECT count(*) FROM {odd}")[0]
        fix = "embed every item with the same model, and leave the column of items without a vector null"
        yield from context.graded("content_vectors", "items.content_vector", count, (0.0, 0.0), fix, odd)


def duplicate_events(context: Context) -> Iterator[Finding]:
    """Few events repeat another event in every column."""
    # Groups by a 64-bit hash, because grouping by whole rows would keep all of them in memory.
    groups = "SELECT hash(e) AS h, count(*) AS n FROM events e GROUP BY 1 HAVING count(*) > 1"
    context.tables.create("duplicate_hashes", groups)
    count = int(context.tables.row("SELECT coalesce(sum(n - 1), 0) FROM duplicate_hashes")[0])
    limits = (context.options.duplicate_warning, context.options.duplicate_error)
    examples = "events e WHERE hash(e) IN (SELECT h FROM duplicate_hashes ORDER BY h LIMIT 3)"
    fix = "remove repeated files from the source; send a quantity instead of one row per unit"
    yield from context.graded("duplicate_events", "events.*", count, limits, fix, examples)


def future_timestamps(context: Context) -> Iterator[Finding]:
    """No event is in the future."""
    latest = (context.now + timedelta(hours=context.options.clock_skew_hours)).isoformat()
    limits = (0.0, context.options.future_error)
    fix = "check the time zone and the unit (seconds or milliseconds) of the timestamps"
    condition = f"timestamp > TIMESTAMPTZ '{latest}'"
    yield from context.breaches("future_timestamps", "events.timestamp", condition, limits, fix)


def event_mix(context: Context) -> Iterator[Finding]:
    """Event types are known, and there are view, cart or purchase events."""
    known = ", ".join(f"'{name}'" for name in EVENT_TYPES)
    fix = f"map the values with event_types; known are {', '.join(EVENT_TYPES)}"
    yield from context.breaches("event_mix", "events.event_type", f"event_type NOT IN ({known})", (0.0, 0.0), fix)
    mix: dict[str, int] = context.statistics["event_mix"]
    rows = context.rows("events")
    if rows and not any(mix.get(name) for name in ("view", "cart", "purchase")):
        yield Finding(
            level="warning",
            rule="event_mix",
            column="events.event_type",
            message="no view, cart or purchase events: there is nothing to train on",
            count=rows,
            share=1.0,
            fix="add the events that follow a search or an impression",
        )
    shares = ", ".join(f"{name} {count / max(rows, 1):.1%}" for name, count in mix.items())
    yield Finding(
        level="info", rule="event_mix", column="events.event_type", message=shares or "no events", count=rows, share=1.0
    )


def orphan_items(context: Context) -> Iterator[Finding]:
    """Items of events exist in the catalog."""
    strange = "item_counts ANTI JOIN items ON item_counts.id = items.item_id"
    count = int(context.tables.row(f"SELECT coalesce(sum(n), 0) FROM {strange}")[0])
    limits = (context.options.orphan_warning, context.options.orphan_error)
    fix = "give a newer or more complete catalog as data.items_source, and check that its ids match those of the events"
    examples = "events ANTI JOIN items USING (item_id) WHERE item_id IS NOT NULL"
    yield from context.graded("orphan_items", "events.item_id", count, limits, fix, examples)


def enough_data(context: Context) -> Iterator[Finding]:
    """There are enough users, items and events."""
    counts = [
        ("events.*", context.rows("events"), "min_events"),
        ("events.user_id", context.statistics["users"]["distinct"], "min_users"),
        ("events.item_id", context.statistics["items"]["distinct"], "min_items"),
        ("items.*", context.rows("items"), "min_items"),
        ("users.*", context.rows("users"), "min_users"),
    ]
    for column, count, option in counts:
        least = getattr(context.options, option)
        if count < least:
            noun = "different value" if column.endswith("_id") else "row"
            yield Finding(
                level="error",
                rule="enough_data",
                column=column,
                message=f"{counted(count, noun)}; {least} or more are needed",
                count=count,
                share=1.0,
                threshold=least,
                fix=f"ingest a longer period or more shoppers; the limit is data.validation.{option}",
                examples=context.tables.examples(column.partition(".")[0]),
            )


def time_span(context: Context) -> Iterator[Finding]:
    """Events are spread over time, because splits are by time."""
    column = context.statistics["tables"]["events"]["columns"]["timestamp"]
    days, rows = len(context.statistics["events_per_day"]), context.rows("events")
    if rows and column["min"] == column["max"]:
        yield Finding(
            level="error",
            rule="time_span",
            column="events.timestamp",
            message=f"{'the only event is' if rows == 1 else f'all {rows:,} events are'} at {column['min']}",
            count=rows,
            share=1.0,
            fix="map the column with the time of the event",
            examples=context.tables.examples("events"),
        )
    elif rows and days < context.options.min_days:
        yield Finding(
            level="warning",
            rule="time_span",
            column="events.timestamp",
            message=f"events on {counted(days, 'day')}; {context.options.min_days} or more are recommended",
            count=days,
            share=1.0,
            threshold=context.options.min_days,
            fix="ingest a longer period",
        )


def size_against_previous(context: Context) -> Iterator[Finding]:
    """No table shrank or grew by much since the previous run."""
    if context.previous is None:
        return
    options = context.options
    for table in ("events", "items", "users"):
        before, now = context.previous["tables"][table]["rows"], context.rows(table)
        ratio = now / max(before, 1)
        if options.shrink_warning <= ratio <= 1 / options.shrink_warning:
            continue
        level: Level = "error" if ratio < options.shrink_error else "warning"
        yield Finding(
            level=level,
            rule="size_against_previous",
            column=f"{table}.*",
            message=f"{counted(now, 'row')}, {ratio:.2g} times the {before:,} of the previous run",
            count=now,
            share=ratio,
            threshold=options.shrink_error if level == "error" else options.shrink_warning,
            fix="check that the source is complete; validate without previous statistics if the change is intended",
        )


def rejected_share(context: Context) -> Iterator[Finding]:
    """ingest_events rejected few event rows."""
    count = sum(context.rejected.values())
    total = count + context.rows("events")
    share = count / max(total, 1)
    options = context.options
    if share <= min(options.rejected_warning, options.rejected_error):
        return
    level: Level = "error" if share > options.rejected_error else "warning"
    reasons = ", ".join(f"{reason}: {rows:,}" for reason, rows in context.rejected.items())
    yield Finding(
        level=level,
        rule="rejected_share",
        column="events.*",
        message=f"{count:,} of {counted(total, 'row')} ({share:.2%}) were rejected ({reasons})",
        count=count,
        share=share,
        threshold=options.rejected_error if level == "error" else options.rejected_warning,
        fix=_AGAIN,
    )


RULES = (
    null_rates, unique_ids, value_ranges, content_vectors, duplicate_events, future_timestamps, event_mix,
    orphan_items, enough_data, time_span, size_against_previous, rejected_share,
)  # fmt: skip
"""All rules, in display order."""
