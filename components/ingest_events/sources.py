"""Where raw tables come from: one small interface, and the tables that follow from the events."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import duckdb


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Some raw rows and the SQL that reads them; staged before the next one is asked for."""

    relation: str
    """A relation whose column names are none of ours."""
    values: Mapping[str, str]
    """Our column -> SQL expression over the relation; a column that is missing here becomes null."""
    problem: str = "NULL"
    """SQL expression: why the row cannot be read, or null."""
    row: str = "NULL"
    """SQL expression: the whole raw row as JSON text, for the rejected rows."""
    source_file: str = ""
    """File with the row, for messages."""
    share: float = 1.0
    """Share of the table that is staged with this selection."""


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
    """Items known only from the events: their id. Prices are derived later, from the past of each moment alone."""

    def selections(self, connection: duckdb.DuckDBPyConnection) -> Iterator[Selection]:
        """Yield the distinct items of the events that were accepted."""
        known = "FROM staged_events WHERE reason IS NULL AND item_id IS NOT NULL"
        yield Selection(
            relation=f"(SELECT DISTINCT item_id AS id {known} ORDER BY id)",
            values={"item_id": "id", "available": "true"},
        )


@dataclass(frozen=True)
class DerivedUsers:
    """Users known only from the events."""

    def selections(self, connection: duckdb.DuckDBPyConnection) -> Iterator[Selection]:
        """Yield the distinct users of the events that were accepted."""
        yield Selection(
            relation="(SELECT DISTINCT user_id AS id FROM staged_events WHERE reason IS NULL ORDER BY id)",
            values={"user_id": "id"},
        )
