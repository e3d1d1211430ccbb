"""Binds the columns of a chunk to those of the data contract: one SQL expression for each."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from components.ingest_events import rules, sql
from components.ingest_events.cells import Cells, constant
from components.ingest_events.readers.chunks import MALFORMED
from components.ingest_events.sources import UNREAD, Selection
from components.ingest_events.values import Cell, Reading, is_given, map_of, number, timestamp, value
from components.shared.errors import SchemaError
from components.shared.schema.mapping import SCHEMAS, VERSION, ColumnMapping

Bound = dict[str, tuple[str, pa.DataType]]
"""Source column -> SQL that reads it from the chunk, and its Arrow type."""

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
        return {part for name in self.names() for part in (name, name.split(".", 1)[0])}

    def check(self, wanted: Mapping[str, str], columns: Iterable[str], where: str) -> None:
        """Check that a file has the wanted columns.

        Raises:
            SchemaError: names the first that is missing.
        """
        columns = list(columns)
        for theirs, ours in wanted.items():
            if theirs not in columns and theirs.split(".", 1)[0] not in columns:
                renamed = f" (mapped to '{ours}')" if theirs != ours else ""
                raise SchemaError(
                    f"{where} has no column '{theirs}'{renamed}",
                    f'map one of its columns, like --mapping \'{{"{ours}": "theirs"}}\'; it has: {", ".join(columns)}',
                )

    def of_table(self, rows: pa.Table, file: str, constants: Mapping[str, str | None]) -> tuple[pa.Table, Selection]:
        """The selection of a chunk with columns, and the chunk as it must be registered under the name `chunk`.

        Args:
            rows: The chunk.
            file: Its file, for messages.
            constants: Columns in the file's path.
        """
        # Numbered names cannot clash with contract columns, whatever the column names of the file are.
        own: Bound = {one.name: (f"c{i}", one.type) for i, one in enumerate(rows.schema)}
        bound: Bound = {
            name: (sql.literal(text) if text is not None else "NULL::VARCHAR", pa.string())
            for name, text in constants.items() if name not in own
        }  # fmt: skip
        for name, source in own.items():
            bound[name] = source
            bound.update(_parts(name, *source))
        pairs = ", ".join(f"{sql.literal(name)}, {sql.json_of(*source)}" for name, source in own.items())
        self._check_types(bound, file)
        renamed = rows.rename_columns([f"c{i}" for i in range(rows.num_columns)])
        return renamed, self._selection("chunk", bound, f"json_object({pairs})::VARCHAR", file)

    def of_json(self, file: str, constants: Mapping[str, str | None]) -> Selection:
        """The selection of a chunk of JSON objects, column `line` of table `chunk`.

        Every needed column is read in one pass over each line.
        """
        names = self.names()
        nested = [name for name in names if "." in name]
        paths = [*([name] for name in names), *(name.split(".") for name in nested)]
        pointers = ", ".join(sql.literal(_pointer(path)) for path in paths)
        text = "CASE WHEN json_valid(line) THEN line END"
        relation = f"(SELECT line, json_extract_string({text}, [{pointers}]) AS fields FROM chunk)"
        bound: Bound = {}
        for at, name in enumerate(names, 1):
            raw = f"fields[{at}]"
            if name in nested:
                raw = f"coalesce({raw}, fields[{len(names) + 1 + nested.index(name)}])"
            if name in constants:
                raw = f"coalesce({raw}, {sql.literal(str(constants[name]))})"
            bound[name] = (raw, pa.string())
        row = "CASE WHEN json_valid(line) THEN line ELSE to_json(line)::VARCHAR END"
        broken = f"WHEN NOT json_valid(line) OR json_type(line) <> 'OBJECT' THEN '{MALFORMED}'"
        return self._selection(relation, bound, row, file, broken, is_json=True)

    def _check_types(self, bound: Bound, file: str) -> None:
        """Ids, words and numbers cannot be read from lists and structs."""
        for ours in SCHEMAS[self.table]:
            theirs = self._columns.get(ours.name, ours.name)
            kind = bound[theirs][1] if isinstance(theirs, str) and theirs in bound else None
            if kind is not None and pa.types.is_nested(kind) and not pa.types.is_nested(ours.type):
                inner = ", ".join(f"{theirs}.{one.name}" for one in kind) if pa.types.is_struct(kind) else ""
                raise SchemaError(
                    f"{file}: column '{theirs}' is {kind}, which is no value of '{ours.name}'",
                    f"map a field of it: {inner}" if inner else "write one row for each element",
                )

    def _selection(
        self, relation: str, bound: Bound, row: str, file: str, broken: str = "", is_json: bool = False
    ) -> Selection:
        cells = Cells(relation, is_json)
        values: dict[str, str] = {}
        raw: dict[str, str] = {}
        cases, unread = [broken] if broken else [], list[tuple[str, str]]()
        for ours, theirs in self._given(bound):
            cell = cells.add(ours, *bound[theirs])
            raw[ours.name] = f"left({cell.shown}, {_SHOWN})"
            lost, why = f"{ours.name} IS NULL AND {is_given(cell, self.reading)}", rules.unreadable(ours.name)
            values[ours.name] = self._value(ours, cell)
            if pa.types.is_string(ours.type):
                lost = cells.nested(cell, ours.name.endswith("_id")) if is_json else ""
                why = f"{ours.name} is an object or a list"
                if lost:
                    values[ours.name] = f"CASE WHEN NOT ({lost}) THEN {values[ours.name]} END"
            if lost and (ours.name in REQUIRED[self.table] or ours.name == "item_id"):
                cases.append(f"WHEN {lost} THEN '{why}'")
            elif lost:
                unread.append((lost, f"{sql.literal(ours.name + UNREAD)} || {raw[ours.name]}"))
        values.update(self._fixed(bound))
        version = self._version(bound, cells)
        return Selection(
            relation=cells.relation(), values=values, row=row, raw=raw, source_file=file, version=version,
            problem=f"CASE {' '.join(cases)} END" if cases else "NULL", unread=_listed(unread),
        )  # fmt: skip

    def _given(self, bound: Bound) -> Iterator[tuple[Any, str]]:
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

    def _fixed(self, bound: Bound) -> dict[str, str]:
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
        folded = f"lower({raw})"
        cases = " ".join(
            f"WHEN {sql.literal(theirs)} THEN '{ours}'" for theirs, ours in self.mapping.event_types.items()
        )
        return f"CASE {folded} {cases} ELSE {folded} END" if cases else folded

    def _version(self, bound: Bound, cells: Cells) -> str:
        theirs = self._columns.get(VERSION)
        if not isinstance(theirs, str) or theirs not in bound:
            return "NULL"
        cell = cells.add(pa.field(VERSION, pa.timestamp("us")), *bound[theirs])
        return f"coalesce(epoch({timestamp(cell, self.reading)}), {number(cell)}::DOUBLE)"


def _parts(name: str, raw: str, kind: pa.DataType) -> Bound:
    """Fields of a struct under dotted names."""
    found: Bound = {}
    if pa.types.is_struct(kind):
        for one in kind:
            inner = (f"struct_extract({raw}, {sql.literal(one.name)})", one.type)
            found[f"{name}.{one.name}"] = inner
            found.update(_parts(f"{name}.{one.name}", *inner))
    return found


def _pointer(parts: list[str]) -> str:
    """JSON pointer."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def _listed(unread: list[tuple[str, str]]) -> str:
    """A list of the texts whose condition holds; null if none does."""
    if not unread:
        return "NULL"
    anything = " OR ".join(f"({lost})" for lost, _ in unread)
    texts = ", ".join(f"CASE WHEN {lost} THEN {shown} END" for lost, shown in unread)
    return f"CASE WHEN {anything} THEN list_filter([{texts}], lambda one: one IS NOT NULL) END"
