"""Rows for each element of lists: a purchase of several items becomes one event for each of them."""

from collections.abc import Sequence

import pyarrow as pa

from components.ingest_events import sql
from components.ingest_events.json_text import elements, json_of, pointer
from components.shared.schema.paths import Step

Found = tuple[str, pa.DataType]
"""SQL of a value in a chunk, and its Arrow type; text may be JSON."""

UNEVEN = "lists of a row differ in length"
"""Rejection reason."""


class Lists:
    """The lists of a chunk whose elements become rows; lists of one row are read side by side."""

    def __init__(self):
        self._lists: list[str] = []
        self._has_lead = False

    def each(self, raw: str, kind: pa.DataType, rest: Sequence[Step]) -> Found | None:
        """The value at the path `rest` in each element of a list; a value that is no list is its only element.

        Args:
            raw: SQL of the list.
            kind: Its type.
            rest: Path within an element; (): the element itself.
        """
        if is_list(kind):
            return descend(self._element(raw), kind.value_type, rest)
        alone = f"CASE WHEN {raw} IS NOT NULL THEN [{raw}] END"
        return descend(self._element(f"coalesce({elements(raw)}, {alone})" if is_text(kind) else alone), kind, rest)

    def beside(self, raw: str, kind: pa.DataType) -> Found:
        """The value of a column that holds lists in some rows: their elements, or the value for every element.

        The first call is for the items. Lists of others count only in rows that have a list of items.
        """
        listed = raw if is_list(kind) else elements(raw)
        if self._has_lead:
            listed = f"CASE WHEN list0 IS NOT NULL AND len({listed}) > 0 THEN {listed} END"
            element = self._element(listed)
        else:
            self._has_lead = True
            element = self._element(listed)
            assert element == "list0[place]", "the items come first"
        if is_list(kind):
            return element, kind.value_type
        return f"CASE WHEN {element.removesuffix('[place]')} IS NULL THEN {raw} ELSE {element} END", pa.string()

    def _element(self, listed: str) -> str:
        if listed not in self._lists:
            self._lists.append(listed)
        return f"list{self._lists.index(listed)}[place]"

    def relation(self, inner: str) -> str:
        """SQL of the chunk with a row for each element, in which the values of `each` and `beside` can be read."""
        if not self._lists:
            return inner
        for at, listed in enumerate(self._lists):
            inner = f"(SELECT *, {listed} AS list{at} FROM {inner})"
        lengths = ", ".join(f"len(list{at})" for at in range(len(self._lists)))
        # An empty list leaves its row, as an outer join does: a search may have found nothing.
        last = f"CASE WHEN uneven THEN 1 ELSE greatest({lengths}, 1) END"
        checked = f"(SELECT *, list_unique([{lengths}]) > 1 AS uneven FROM {inner})"
        return f"(SELECT *, unnest(range(1, {last} + 1)) AS place FROM {checked})"

    @property
    def place(self) -> str:
        """SQL of the number of the element that a row is made of, from 0."""
        return "(place - 1)" if self._lists else "0"

    @property
    def problem(self) -> str:
        """SQL case of a row whose lists differ in length; '' if there is no list."""
        return f"WHEN uneven THEN '{UNEVEN}'" if self._lists else ""


def is_list(kind: pa.DataType) -> bool:
    """Whether a type is one of lists."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is one of text, which may be JSON."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def descend(raw: str, kind: pa.DataType, steps: Sequence[Step]) -> Found | None:
    """The value at a path within a value, None if its type has no such field.

    Args:
        raw: SQL of the value.
        kind: Its type.
        steps: The path, without a list that becomes rows.
    """
    found: Found | None = (raw, kind)
    for step in steps:
        found = _field(*found, step.name) if found else None
        found = chosen(*found, step) if found else None
    return found


def _field(raw: str, kind: pa.DataType, name: str) -> Found | None:
    if pa.types.is_struct(kind):
        at = kind.get_field_index(name)
        return (f"struct_extract({raw}, {sql.literal(name)})", kind.field(at).type) if at >= 0 else None
    if pa.types.is_map(kind) and is_text(kind.key_type):
        return f"map_extract({raw}, {sql.literal(name)})[1]", kind.item_type
    if is_text(kind):
        return f"json_extract_string({json_of(raw)}, {sql.literal(pointer([name]))})", pa.string()
    return None


def chosen(raw: str, kind: pa.DataType, step: Step) -> Found | None:
    """The object of a list that a step names by the value of a key; the value itself if it names none."""
    if not step.key:
        return raw, kind
    key, value = sql.literal(step.key), sql.literal(step.value)
    if is_list(kind) and pa.types.is_struct(kind.value_type) and kind.value_type.get_field_index(step.key) >= 0:
        matches = f"struct_extract(one, {key})::VARCHAR = {value}"
        return f"list_filter({raw}, lambda one: {matches})[1]", kind.value_type
    if is_text(kind):
        field = f"json_extract_string(CASE WHEN json_valid(one) THEN one END, {sql.literal(pointer([step.key]))})"
        return f"list_filter({elements(raw)}, lambda one: {field} = {value})[1]", pa.string()
    return None
