"""Sources of raw tables: their interface, and the tables derived from the events."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import duckdb

from components.shared.errors import InputError

UNREAD = "\x1f"
"""Between a column and its raw value."""


_UNREADABLE = (
    duckdb.ConversionException, duckdb.InvalidInputException, duckdb.OutOfRangeException,
    duckdb.NotImplementedException,
)  # fmt: skip
"""What typed values of a file raise before any expression sees them, such as a map with the same key twice."""


@contextlib.contextmanager
def unreadable(label: str) -> Iterator[None]:
    """Name the file of a typed value that DuckDB does not take.

    Raises:
        InputError: there is one.
    """
    try:
        yield
    except _UNREADABLE as error:
        raise InputError(
            f"{label} has a value that cannot be read: {str(error).splitlines()[0]}",
            "correct the value, or write its column as text",
        ) from error


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Some raw rows and the SQL that reads them; staged before the next selection is requested."""

    relation: str
    """SQL relation; its column names differ from those of the contract."""
    values: Mapping[str, str]
    """Contract column -> SQL expression over the relation; missing columns become null."""
    problem: str = "NULL"
    """SQL expression of the reason why the row cannot be read, or null."""
    raw: Mapping[str, str] = field(default_factory=dict)
    """Contract column -> SQL expression of its raw value, which messages show."""
    unread: str = "NULL"
    """SQL expression of the optional values that cannot be read, a list of `column + UNREAD + raw value`, or null."""
    version: str = "NULL"
    """SQL expression of the row's version, a number: the highest of an id is kept."""
    row: str = "NULL"
    """SQL expression of the raw row as JSON text, for rejected rows."""
    source_file: str = "''"
    """SQL expression of the file with the row, for messages."""
    label: str = ""
    """Its first file, for errors."""
    position: str = "NULL"
    """SQL expression of the row's number in the source. DuckDB may change the order of rows that it inserts."""
    share: float = 1.0
    """Share of the table that is staged up to and including this selection."""


@dataclass
class FileCounts:
    """Files of a source: how many were read, and how many were left out, by reason with some of their names."""

    read: int = 0
    rows: int = 0
    """Rows of the files: fewer than are staged, where elements of lists become rows."""
    skipped: dict[str, int] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)


class Source(Protocol):
    """Raw rows of one table."""

    def selections(self, connection: duckdb.DuckDBPyConnection) -> Iterator[Selection]:
        """Yield every raw row once.

        Raises:
            InputError: a file cannot be read.
            SchemaError: a mapped column is missing.
        """
        ...


@dataclass(frozen=True)
class DerivedItems:
    """Items derived from the events, with only their ids. Prices are derived later, from past events only."""

    def selections(self, connection: duckdb.DuckDBPyConnection) -> Iterator[Selection]:
        """Yield the distinct items of accepted events."""
        known = "FROM staged_events WHERE reason IS NULL AND item_id IS NOT NULL"
        yield Selection(
            relation=f"(SELECT DISTINCT item_id AS id {known} ORDER BY id)",
            values={"item_id": "id", "available": "true"},
        )


@dataclass(frozen=True)
class DerivedUsers:
    """Users derived from the events."""

    def selections(self, connection: duckdb.DuckDBPyConnection) -> Iterator[Selection]:
        """Yield the distinct users of accepted events."""
        yield Selection(
            relation="(SELECT DISTINCT user_id AS id FROM staged_events WHERE reason IS NULL ORDER BY id)",
            values={"user_id": "id"},
        )
