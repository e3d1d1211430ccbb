"""The column mapping from a shop's columns and values to those of the data contract."""

import json
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from components.shared.errors import InputError, SchemaError
from components.shared.schema.paths import parse_path
from components.shared.schema.tables import EVENT_TYPES, EVENTS, ITEMS, USERS

SCHEMAS: dict[str, pa.Schema] = {"events": EVENTS, "items": ITEMS, "users": USERS}
"""The three tables of the data contract, in the order of ingestion."""

VERSION = "version"
"""Key of a mapping, as `items.version`: the column that tells which row of an item or user is the newest."""

IGNORE, ANY_OTHER = "ignore", "*"
"""In `event_types`: the meaning of events that are left out, and the word for all that are not named."""

EXAMPLE = '{"user_id": "visitor", "items.title": "name", "event_types": {"addtocart": "cart"}}'


@dataclass(frozen=True, kw_only=True)
class ColumnMapping:
    """A validated mapping; tables without entries keep their column names."""

    columns: MappingOf[str, MappingOf[str, str | list[str]]] = field(default_factory=dict)
    """Table -> contract column -> source column, or a list of source columns for attributes."""
    constants: MappingOf[str, MappingOf[str, str]] = field(default_factory=dict)
    """Table -> contract column -> constant value."""
    event_types: MappingOf[str, str] = field(default_factory=dict)
    """Event type of the source (lower case), or ANY_OTHER -> contract event type, or IGNORE."""


def parse_mapping(raw: MappingOf[str, Any] | None) -> ColumnMapping:
    """Validate a mapping given as a flat or sectioned dictionary.

    Flat keys name columns of the events (`"user_id"`) or of any table (`"items.title"`); the keys `events`, `items`
    and `users` may hold one dictionary each instead; `event_types` renames values and `constants` sets them. A column
    may be a path into objects and lists: see `paths`. An event type renamed to `ignore` is left out; `*` is any other.

    Raises:
        SchemaError: a key is not a column of the data contract.
        InputError: a value is invalid, or an event type is unknown.
    """
    columns: dict[str, dict[str, Any]] = {table: {} for table in SCHEMAS}
    constants: dict[str, dict[str, str]] = {table: {} for table in SCHEMAS}
    event_types: dict[str, str] = {}
    for key, value in (raw or {}).items():
        if key == "event_types":
            event_types = _event_types(_section(key, value))
        elif key == "constants":
            for name, constant in _section(key, value).items():
                table, column = _target(name)
                constants[table][column] = _constant(name, constant)
        elif key in SCHEMAS:
            for name, theirs in _section(key, value).items():
                table, column = _target(f"{key}.{name}")
                columns[table][column] = _theirs(f"{key}.{name}", theirs)
        else:
            table, column = _target(key)
            columns[table][column] = _theirs(key, value)
    return ColumnMapping(columns=columns, constants=constants, event_types=event_types)


def _section(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"mapping: '{key}' is {value!r}, not an object", f"use the form {EXAMPLE}")
    return value


def _target(name: str) -> tuple[str, str]:
    """The table and column of a key such as 'user_id' or 'items.title'."""
    table, dot, column = name.partition(".")
    if not dot:
        table, column = "events", name
    names = [*SCHEMAS[table].names, *([VERSION] if table != "events" else [])] if table in SCHEMAS else []
    if column not in names:
        known = ", ".join(names or SCHEMAS)
        raise SchemaError(
            f"mapping: '{name}' is not a column of the data contract",
            f"use `our column: your column`; {table if table in SCHEMAS else 'the tables'} has: {known}",
        )
    return table, column


def _theirs(name: str, value: Any) -> str | list[str]:
    if isinstance(value, str) and value:
        if sum(step.each for step in parse_path(value)) > 1:
            raise InputError(
                f"mapping: '{name}' has two lists: '{value}'", "write a row for each element of the outer one"
            )
        return value
    if name.endswith(".attributes") and isinstance(value, list) and all(isinstance(v, str) and v for v in value):
        return value
    raise InputError(
        f"mapping: '{name}' is {value!r}", "give the name of one of your columns (attributes may take a list of them)"
    )


def _constant(name: str, value: Any) -> str:
    if isinstance(value, str | int | float | bool):
        return json.dumps(value) if not isinstance(value, str) else value
    raise InputError(f"mapping: the constant '{name}' is {value!r}", "give a string, a number or true/false")


def _event_types(section: dict[str, Any]) -> dict[str, str]:
    for theirs, ours in section.items():
        if ours not in (*EVENT_TYPES, IGNORE):
            raise InputError(
                f"mapping: event type '{theirs}' is mapped to {ours!r}",
                f"use one of: {', '.join((*EVENT_TYPES, IGNORE))}",
            )
    return {theirs.strip().lower(): ours for theirs, ours in section.items()}
