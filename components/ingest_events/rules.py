"""Rejection rules: one SQL expression per table, which returns the first reason that applies."""

from collections.abc import Mapping

from components.shared.schema.account import UNKNOWN_TYPE
from components.shared.schema.tables import EVENT_TYPES

_TYPES = ", ".join(f"'{name}'" for name in EVENT_TYPES)

EARLIEST, LATEST = "1970-01-01", "2200-01-01"
"""Timestamps outside are typing errors or have a wrong epoch; validate_data checks for timestamps in the future."""

IGNORED = "event_type is left out by the mapping"
"""Reason of rows that are not read on purpose; they do not count as rejected."""
IGNORED_TYPE = "\x1fignored"
"""Event type of these rows; no source has it."""

_REASONS: dict[str, list[tuple[str, str, str]]] = {
    "events": [
        (f"event_type = '{IGNORED_TYPE}'", IGNORED, "event_type"),
        ("user_id IS NULL", "user_id is null", "user_id"),
        ("event_type IS NULL", "event_type is null", "event_type"),
        (f"event_type NOT IN ({_TYPES})", UNKNOWN_TYPE, "event_type"),
        ("timestamp IS NULL", "timestamp is null", "timestamp"),
        (
            f"NOT (timestamp >= TIMESTAMPTZ '{EARLIEST}' AND timestamp < TIMESTAMPTZ '{LATEST}')",
            "timestamp is out of range", "timestamp",
        ),
        ("event_type <> 'search' AND item_id IS NULL", "item_id is null", "item_id"),
        ("event_type = 'search' AND item_id IS NULL AND query IS NULL", "search without item and query", "query"),
        ("price < 0", "price is negative", "price"),
        # Zero is valid: tills write it for coupons and corrections, and the purchase took place.
        ("quantity < 0", "quantity is negative", "quantity"),
    ],
    "items": [("item_id IS NULL", "item_id is null", "item_id")],
    "users": [("user_id IS NULL", "user_id is null", "user_id")],
}  # fmt: skip
"""Table -> (condition, reason, column that shows it)."""

KEYS = {"items": "item_id", "users": "user_id"}
"""Columns that must be unique; only the newest row of an id is kept."""


def reason(table: str) -> str:
    """SQL expression of a row's rejection reason, or null; column `problem` has the reader's reason, if any."""
    cases = [f"WHEN {condition} THEN '{text}'" for condition, text, _ in _REASONS[table]]
    # What is left out on purpose may be odd.
    first = cases.pop(0) if table == "events" else ""
    return f"CASE {first} WHEN problem IS NOT NULL THEN problem {' '.join(cases)} END"


def offending(table: str, raw: Mapping[str, str]) -> str:
    """SQL expression of the raw value that a rejected row was rejected for, or null.

    Args:
        table: events, items or users.
        raw: Contract column -> SQL expression of its raw value, for columns that the source has.
    """
    columns = dict.fromkeys(column for _, _, column in _REASONS[table])
    shown = {column: raw[column] for column in columns if column in raw}
    unread = [f"WHEN problem = '{unreadable(column)}' THEN {given}" for column, given in shown.items()]
    cases = [f"WHEN reason = '{text}' THEN {shown[column]}" for _, text, column in _REASONS[table] if column in shown]
    return f"CASE {' '.join(unread + cases)} END" if shown else "NULL"


def unreadable(column: str) -> str:
    """Rejection reason of a row whose required value cannot be read."""
    return f"{column} cannot be read"


def duplicate_reason(table: str) -> str:
    """Rejection reason of a row with a repeated id."""
    return f"{KEYS[table]} is a duplicate"
