"""The data contract: Arrow schemas of events, items and users."""

import hashlib
from typing import Literal

import pyarrow as pa

from components.shared.errors import SchemaError

EVENT_TYPES = ("search", "impression", "view", "cart", "purchase")
"""The index in this tuple is the integer code of the event type in encoded histories."""

EventType = Literal["search", "impression", "view", "cart", "purchase"]
"""Types of events."""

DEFAULT_EVENT_WEIGHTS: dict[EventType, float] = {
    "search": 1.0,
    "impression": 0.0,
    "view": 0.5,
    "cart": 0.75,
    "purchase": 1.0,
}

EVENTS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("item_id", pa.string()),
        pa.field("event_type", pa.string(), nullable=False),
        pa.field("timestamp", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("query", pa.string()),
        pa.field("session_id", pa.string()),
        pa.field("quantity", pa.float32()),
        pa.field("price", pa.float32()),
        pa.field("request_id", pa.string()),
        pa.field("rating", pa.float32()),
    ]
)

ITEMS = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("description", pa.string()),
        pa.field("categories", pa.list_(pa.string())),
        pa.field("brand", pa.string()),
        pa.field("price", pa.float32()),
        pa.field("available", pa.bool_()),
        pa.field("created_at", pa.timestamp("us", tz="UTC")),
        pa.field("attributes", pa.map_(pa.string(), pa.string())),
        pa.field("content_vector", pa.list_(pa.float32())),
    ]
)

USERS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("attributes", pa.map_(pa.string(), pa.string())),
    ]
)


def schema_hash(*schemas: pa.Schema) -> str:
    """First 16 hex digits of the SHA-256 over the schemas' field names and types."""
    text = "\n".join(f"{field.name}:{field.type}:{field.nullable}" for schema in schemas for field in schema)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_schema(found: pa.Schema, wanted: pa.Schema, where: str) -> None:
    """Check that a table has all columns of `wanted` with their types.

    Raises:
        SchemaError: names the first column that differs and lists the columns found.
    """
    for field in wanted:
        index = found.get_field_index(field.name)
        if index < 0:
            raise SchemaError(
                f"{where} has no column '{field.name}'",
                f"map one of its columns to it; the columns are: {', '.join(found.names)}",
            )
        if found.field(index).type != field.type:
            raise SchemaError(
                f"{where}: column '{field.name}' is {found.field(index).type}, not {field.type}",
                "cast the column before writing it, or let ingest_events do so through its column mapping",
            )
