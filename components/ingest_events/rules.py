"""Rejection rules: one SQL expression per table, which returns the first reason that applies."""

from components.shared.schema.tables import EVENT_TYPES

_TYPES = ", ".join(f"'{name}'" for name in EVENT_TYPES)

EARLIEST, LATEST = "1970-01-01", "2200-01-01"
"""Timestamps outside are typing errors or have a wrong epoch; validate_data checks for timestamps in the future."""

_REASONS: dict[str, list[tuple[str, str]]] = {
    "events": [
        ("user_id IS NULL", "user_id is null"),
        ("event_type IS NULL", "event_type is null"),
        (f"event_type NOT IN ({_TYPES})", "event_type is unknown"),
        ("timestamp IS NULL", "timestamp is null"),
        (
            f"NOT (timestamp >= TIMESTAMPTZ '{EARLIEST}' AND timestamp < TIMESTAMPTZ '{LATEST}')",
            "timestamp is out of range",
        ),
        ("event_type <> 'search' AND item_id IS NULL", "item_id is null"),
        ("event_type = 'search' AND item_id IS NULL AND query IS NULL", "search without item and query"),
        ("NOT isfinite(price)", "price is not finite"),
        ("price < 0", "price is negative"),
        ("NOT isfinite(quantity)", "quantity is not finite"),
        # Zero is valid: tills write it for coupons and corrections, and the purchase took place.
        ("quantity < 0", "quantity is negative"),
        ("NOT isfinite(rating)", "rating is not finite"),
    ],
    "items": [
        ("item_id IS NULL", "item_id is null"),
        ("NOT isfinite(price)", "price is not finite"),
        ("price < 0", "price is negative"),
        (
            "len(list_filter(content_vector, lambda x: x IS NULL OR NOT isfinite(x))) > 0",
            "content_vector is not finite",
        ),
    ],
    "users": [("user_id IS NULL", "user_id is null")],
}

KEYS = {"items": "item_id", "users": "user_id"}
"""Columns that must be unique; only the first row of an id is kept."""


def reason(table: str) -> str:
    """SQL expression of a row's rejection reason, or null; column `problem` has the reader's reason, if any."""
    cases = " ".join(f"WHEN {condition} THEN '{text}'" for condition, text in _REASONS[table])
    return f"CASE WHEN problem IS NOT NULL THEN problem {cases} END"


def duplicate_reason(table: str) -> str:
    """Rejection reason of a row with a repeated id."""
    return f"{KEYS[table]} is a duplicate"
