"""Computes what several expressions need of a raw column once, in a relation around the chunk."""

from typing import Any

import pyarrow as pa

from components.ingest_events import sql
from components.ingest_events.json_text import unwrapped
from components.ingest_events.values import Cell, is_number, trimmed


def constant(text: str) -> Cell:
    """The cell of a constant."""
    literal = sql.literal(text)
    return Cell(raw=literal, kind=pa.string(), text=f"nullif({trimmed(literal)}, '')",
                amount=f"TRY_CAST({trimmed(literal)} AS DOUBLE)")  # fmt: skip


class Cells:
    """The cells of a chunk.

    Args:
        relation: The chunk.
    """

    def __init__(self, relation: str):
        self._chunk = relation
        self._columns: list[list[str]] = [[], [], [], []]

    def add(self, ours: Any, raw: str, kind: pa.DataType, is_plain: bool = False) -> Cell:
        """Add a raw column.

        Args:
            ours: Field of the data contract that is read from it.
            raw: SQL of the column.
            kind: Its Arrow type.
            is_plain: Whether no text of it is a list or an object.
        """
        at = len(self._columns[0])
        given, plain, amount = f"given{at}", f"plain{at}", f"amount{at}"
        self._columns[0].append(f"{raw} AS {given}")
        is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        if is_text:
            inner = given
            if not is_plain and not pa.types.is_nested(ours.type):
                inner = f"inner{at}"
                is_word = pa.types.is_string(ours.type) and not ours.name.endswith("_id")
                self._columns[1].append(f"{unwrapped(given, is_word)} AS {inner}")
            self._columns[2].append(f"nullif({trimmed(inner)}, '') AS {plain}")
        if _needs_amount(ours) and (is_text or is_number(kind)):
            read = f"TRY_CAST({plain} AS DOUBLE)" if is_text else f"{given}::DOUBLE"
            self._columns[3].append(f"{read} AS {amount}")
        else:
            amount = "NULL::DOUBLE"
        return Cell(raw=given, kind=kind, text=plain if is_text else "", amount=amount)

    def relation(self) -> str:
        """SQL of the chunk with the columns of all cells."""
        found = self._chunk
        for columns in filter(None, self._columns):
            found = f"(SELECT *, {', '.join(columns)} FROM {found})"
        return found


def _needs_amount(ours: Any) -> bool:
    kind = ours.type
    return pa.types.is_floating(kind) or pa.types.is_timestamp(kind) or pa.types.is_boolean(kind)
