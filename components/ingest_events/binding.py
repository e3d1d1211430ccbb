"""Binds the columns of a chunk to those of the data contract: one SQL expression for each."""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from components.ingest_events import rules, sql
from components.ingest_events.cells import Cells, constant
from components.ingest_events.columns import BESIDE, FILE, Columns, Wanted, json_columns, table_columns
from components.ingest_events.json_text import is_nested
from components.ingest_events.lists import Found, is_list
from components.ingest_events.sources import UNREAD, Selection
from components.ingest_events.values import Cell, Reading, is_given, map_of, number, timestamp, value
from components.shared.errors import SchemaError
from components.shared.schema.column_words import suggestion
from components.shared.schema.mapping import ANY_OTHER, IGNORE, SCHEMAS, VERSION, ColumnMapping
from components.shared.schema.paths import outermost
from components.shared.schema.tables import EVENT_TYPES

REQUIRED = {"events": ("user_id", "event_type", "timestamp"), "items": ("item_id",), "users": ("user_id",)}
"""Columns without which a table cannot be read."""

_SHOWN = 200
"""Characters of a raw value in messages."""


@dataclass(frozen=True, kw_only=True)
class Binding:
    """How one table of a source is read.

    Attributes:
        table: events, items or users. mapping: of columns and values. reading: of values.
    """

    table: str
    mapping: ColumnMapping = field(default_factory=ColumnMapping)
    reading: Reading = field(default_factory=Reading)

    @property
    def _columns(self) -> Mapping[str, str | list[str]]:
        return self.mapping.columns.get(self.table, {})

    @property
    def _constants(self) -> Mapping[str, str]:
        return self.mapping.constants.get(self.table, {})

    def wanted(self) -> dict[str, str]:
        """Source column that must exist -> contract column."""
        wanted: dict[str, str] = {}
        for ours, theirs in self._columns.items():
            wanted.update(dict.fromkeys([theirs] if isinstance(theirs, str) else theirs, ours))
        for ours in REQUIRED[self.table]:
            if ours not in self._constants and ours not in self._columns:
                wanted[ours] = ours
        return wanted

    def names(self) -> list[str]:
        """Source columns that are read if they exist."""
        return list(dict.fromkeys([*self.wanted(), *SCHEMAS[self.table].names]))

    def needed(self) -> set[str]:
        """Outermost columns of `names`: `product` of `product.id`."""
        return {part for name in self.names() for part in (name, outermost(name))}

    def check(self, wanted: Mapping[str, str], columns: Iterable[str], where: str) -> None:
        """Check that a file has the wanted columns.

        Raises:
            SchemaError: names the first that is missing.
        """
        columns = list(columns)
        for theirs, ours in wanted.items():
            if theirs not in columns and outermost(theirs) not in columns:
                renamed = f" (mapped to '{ours}')" if theirs != ours else ""
                name = ours if self.table == "events" else f"{self.table}.{ours}"
                probably = json.dumps({name: suggestion(self.table, ours, columns)})
                raise SchemaError(
                    f"{where} has no column '{theirs}'{renamed}",
                    f"map one of its columns, like --mapping '{probably}'; it has: {', '.join(columns)}",
                )

    def of_table(self, rows: pa.Table, file: str, constants: Mapping[str, str | None]) -> tuple[pa.Table, Selection]:
        """The selection of a chunk with columns, and the chunk as it must be registered under the name `chunk`.

        Args:
            rows: The chunk.
            file: Its file, for messages.
            constants: Columns in the file's path.

        Raises:
            SchemaError: a needed column has a type that cannot be read, or no such field.
        """
        columns = table_columns(rows, self._looked_for(constants))
        columns = dataclasses.replace(columns, found={**columns.found, **self._unwrapped(columns.found)})
        self._check_types(columns.found, file)
        renamed = rows.rename_columns([f"c{i}" for i in range(rows.num_columns)])
        return renamed, self._selection(columns)

    def of_json(self, rows: pa.Table, constants: Mapping[str, str | None]) -> Selection:
        """The selection of a chunk of JSON objects, which must be registered under the name `chunk`; see of_table."""
        return self._selection(json_columns(rows, self._looked_for(constants)))

    def _looked_for(self, constants: Mapping[str, str | None]) -> Wanted:
        listed = [self._columns.get(ours, ours) for ours in ("item_id", *BESIDE) if ours not in self._constants]
        names = tuple(name for name in listed if isinstance(name, str))
        of_rows = self.table == "events" and "item_id" not in self._constants and "[]" not in names[0]
        return Wanted(names=tuple(self.names()), constants=constants, listed=names if of_rows else ())

    def _unwrapped(self, bound: Mapping[str, Found]) -> dict[str, Found]:
        """Structs with a single field, such as `{"$oid": ...}`, where an id, word or number is wanted: that field."""
        found: dict[str, Found] = {}
        for ours, theirs in self._given(bound):
            raw, kind = bound[theirs]
            if not pa.types.is_nested(ours.type) and pa.types.is_struct(kind) and kind.num_fields == 1:
                raw, kind = f"struct_extract({raw}, {sql.literal(kind[0].name)})", kind[0].type
            found[theirs] = raw, kind
        return found

    def _check_types(self, bound: Mapping[str, Found], file: str) -> None:
        """Ids, words and numbers cannot be read from lists and structs; every mapped path leads to something."""
        for theirs in self.wanted():
            if theirs not in bound:
                raise SchemaError(
                    f"{file} has no field '{theirs}'", f"correct the path in the mapping: '{outermost(theirs)}' differs"
                )
        for ours in SCHEMAS[self.table]:
            theirs = self._columns.get(ours.name, ours.name)
            kind = bound[theirs][1] if isinstance(theirs, str) and theirs in bound else None
            if kind is None or not pa.types.is_nested(kind) or pa.types.is_nested(ours.type):
                continue
            inner, at = (kind.value_type, f"{theirs}[]") if is_list(kind) else (kind, theirs)
            fields = ", ".join(f"{at}.{one.name}" for one in inner) if pa.types.is_struct(inner) else ""
            raise SchemaError(
                f"{file}: column '{theirs}' is {kind}, which is no value of '{ours.name}'",
                f"map a field of it: {fields}" if fields else f"map '{at}' for a row of each element",
            )

    def _selection(self, columns: Columns) -> Selection:
        bound, cells = columns.found, Cells(columns.relation)
        values: dict[str, str] = {}
        raw: dict[str, str] = {}
        cases, unread = list(columns.problems), list[tuple[str, str]]()
        for ours, theirs in self._given(bound):
            is_plain = theirs in columns.plain
            cell = cells.add(ours, *bound[theirs], is_plain=is_plain)
            raw[ours.name] = f"left({cell.shown}, {_SHOWN})"
            lost, why = f"{ours.name} IS NULL AND {is_given(cell, self.reading)}", rules.unreadable(ours.name)
            values[ours.name] = self._value(ours, cell)
            if pa.types.is_string(ours.type):
                lost = is_nested(cell.text, ours.name.endswith("_id")) if cell.text and not is_plain else ""
                why = f"{ours.name} is an object or a list"
                if lost:
                    values[ours.name] = f"CASE WHEN NOT ({lost}) THEN {values[ours.name]} END"
            if lost and (ours.name in REQUIRED[self.table] or ours.name == "item_id"):
                cases.append(f"WHEN {lost} THEN '{why}'")
            elif lost:
                unread.append((lost, f"{sql.literal(ours.name + UNREAD)} || {raw[ours.name]}"))
        values.update(self._fixed(bound))
        unread += [(f"{name} IS NULL", sql.literal(name + UNREAD + text)) for name, text in self._constants.items()]
        version, lost, shown = self._version(bound, cells)
        unread += [(lost, f"{sql.literal(VERSION + UNREAD)} || {shown}")] if lost else []
        return Selection(
            relation=cells.relation(), values=values, row=columns.row, raw=raw, source_file=FILE,
            position=columns.position, version=version, unread=_listed(unread),
            problem=f"CASE {' '.join(cases)} END" if cases else "NULL",
        )  # fmt: skip

    def _given(self, bound: Mapping[str, Found]) -> Iterator[tuple[Any, str]]:
        """(contract field, source column) of every field that the chunk has in a column of its own."""
        for ours in SCHEMAS[self.table]:
            theirs = self._columns.get(ours.name, ours.name)
            if ours.name not in self._constants and isinstance(theirs, str) and theirs in bound:
                yield ours, theirs

    def _value(self, ours: Any, cell: Cell) -> str:
        read = value(ours, cell, self.reading)
        if ours.name == "event_type":
            return self._event_type(read)
        if self.table == "items" and ours.name == "price":
            # Below zero it is a mark for an unknown price.
            return f"CASE WHEN {read} >= 0 THEN {read} END"
        if pa.types.is_timestamp(ours.type) and ours.name not in REQUIRED[self.table]:
            # What reads the table later cannot hold other years; a row is refused for its required time instead.
            return (
                f"CASE WHEN {read} >= TIMESTAMPTZ '0001-01-01' AND {read} < TIMESTAMPTZ '10000-01-01' THEN {read} END"
            )
        return read

    def _fixed(self, bound: Mapping[str, Found]) -> dict[str, str]:
        """Contract columns that are constants or made of several columns."""
        found: dict[str, str] = {}
        for ours in SCHEMAS[self.table]:
            theirs = self._columns.get(ours.name)
            if ours.name in self._constants:
                found[ours.name] = self._value(ours, constant(self._constants[ours.name]))
            elif isinstance(theirs, list):
                found[ours.name] = map_of({name: bound[name][0] for name in theirs if name in bound})
        return found

    def _event_type(self, raw: str) -> str:
        folded, known = f"lower({raw})", ", ".join(map(sql.literal, EVENT_TYPES))
        meant = {IGNORE: rules.IGNORED_TYPE}
        cases = [
            f"WHEN {sql.literal(theirs)} THEN {sql.literal(meant.get(ours, ours))}"
            for theirs, ours in self.mapping.event_types.items() if theirs != ANY_OTHER
        ]  # fmt: skip
        other = folded
        if any_other := self.mapping.event_types.get(ANY_OTHER):
            given = sql.literal(meant.get(any_other, any_other))
            other = f"CASE WHEN {folded} IN ({known}) THEN {folded} WHEN {folded} IS NOT NULL THEN {given} END"
        return f"CASE {folded} {' '.join(cases)} ELSE {other} END" if cases else other

    def _version(self, bound: Mapping[str, Found], cells: Cells) -> tuple[str, str, str]:
        """The version of a row, whether it has one that cannot be read, and its text."""
        theirs = self._columns.get(VERSION)
        if not isinstance(theirs, str) or theirs not in bound:
            return "NULL", "", ""
        cell = cells.add(pa.field(VERSION, pa.timestamp("us")), *bound[theirs])
        read = f"coalesce(epoch({timestamp(cell, self.reading)}), {number(cell)}::DOUBLE)"
        return read, f"{read} IS NULL AND {is_given(cell, self.reading)}", f"left({cell.shown}, {_SHOWN})"


def _listed(unread: list[tuple[str, str]]) -> str:
    """A list of the texts whose condition holds; null if none does."""
    if not unread:
        return "NULL"
    anything = " OR ".join(f"({lost})" for lost, _ in unread)
    texts = ", ".join(f"CASE WHEN {lost} THEN {shown} END" for lost, shown in unread)
    return f"CASE WHEN {anything} THEN list_filter([{texts}], lambda one: one IS NOT NULL) END"
