"""The columns of a chunk: values in columns, in fields of objects, and in elements of lists."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from components.ingest_events import sql
from components.ingest_events.json_text import pointer
from components.ingest_events.lists import Found, Lists, chosen, descend, is_list, is_text
from components.ingest_events.readers.chunks import MALFORMED
from components.shared.schema.identifiers import BLANKS, MARKS
from components.shared.schema.paths import outermost, parse_path

_BLANK = f"[{re.escape(BLANKS + MARKS)}]"
_BEGINS = f"^{_BLANK}*[\\[{{(]"
_BEGINS_LIST = f"^{_BLANK}*[\\[(]"

FILE = "chunk_file"
"""Column of a registered chunk: the file of each row."""
ROW = "chunk_row"
"""Column of a registered chunk: the number of each row in the source."""
BESIDE = ("quantity", "price", "rating")
"""Numbers of an event that may be lists beside its list of items."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is looked for in the chunks of a table.

    Attributes:
        names: columns and paths. constants: columns in the file's path. listed: the column of item ids, if its values
        may be lists whose elements become rows, and the columns of numbers beside it.
    """

    names: tuple[str, ...]
    constants: Mapping[str, str | None]
    listed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What a chunk has.

    Attributes:
        relation: SQL relation. found: column or path -> its SQL and type. row: SQL of the raw row as JSON text.
        position: SQL of the number of a row. problems: SQL cases of rows that cannot be read.
        plain: columns of text without a value that begins like a list or an object.
    """

    relation: str
    found: Mapping[str, Found]
    row: str
    position: str
    problems: tuple[str, ...] = ()
    plain: frozenset[str] = frozenset()


def table_columns(rows: pa.Table, wanted: Wanted) -> Columns:
    """Columns of a chunk that has them, and is registered as `chunk` with the names c0, c1, ..."""
    # Numbered names cannot clash with contract columns, whatever the column names of the file are.
    own: dict[str, Found] = {one.name: (f"c{i}", one.type) for i, one in enumerate(rows.schema)}
    pairs = ", ".join(f"{sql.literal(name)}, {sql.json_of(*source)}" for name, source in own.items())
    for name, text in wanted.constants.items():
        own.setdefault(name, (sql.literal(text) if text is not None else "NULL::VARCHAR", pa.string()))
    lists, found = Lists(), dict[str, Found]()
    item = own.get(wanted.listed[0]) or _at(wanted.listed[0], own, lists) if wanted.listed else None
    of_rows = _of_rows(wanted) if item and _has_lists(rows, wanted.listed[0], item[1]) else ()
    for name in dict.fromkeys((*of_rows, *wanted.names)):
        one = own.get(name) or _at(name, own, lists)
        if one:
            found[name] = lists.beside(*one) if name in of_rows and _may_be_list(one[1]) else one
    problems = tuple(filter(None, [lists.problem]))
    plain = frozenset(name for name in found if name in own and name not in of_rows and not _any_begins(rows, name))
    return Columns(
        relation=lists.relation("chunk"),
        found=found,
        row=f"json_object({pairs})::VARCHAR",
        problems=problems,
        plain=plain,
        position=_position(lists),
    )


def json_columns(rows: pa.Table, wanted: Wanted) -> Columns:
    """Columns of a chunk of JSON objects, column `line` of `chunk`; their outermost values are read in one pass."""
    keys = list(dict.fromkeys([*wanted.names, *map(outermost, wanted.names)]))
    own: dict[str, Found] = {key: (f"fields[{at}]", pa.string()) for at, key in enumerate(keys, 1)}
    pointers = ", ".join(sql.literal(pointer([key])) for key in keys)
    relation = f"(SELECT line, {FILE}, {ROW}, json_extract_string({_valid('line')}, [{pointers}]) AS fields FROM chunk)"
    lists, found = Lists(), dict[str, Found]()
    of_rows = _of_rows(wanted) if wanted.listed and _has_key_of_lists(rows, wanted.listed[0]) else ()
    for name in dict.fromkeys((*of_rows, *wanted.names)):
        raw = own[name][0]
        if name != outermost(name) and (one := _at(name, own, lists)):
            raw = f"coalesce({raw}, {one[0]})"
        if name in wanted.constants:
            raw = f"coalesce({raw}, {sql.literal(str(wanted.constants[name]))})"
        found[name] = lists.beside(raw, pa.string()) if name in of_rows else (raw, pa.string())
    nested = _any(rows["line"], r"(?s)\{.*[\[{(]")
    broken = f"WHEN NOT json_valid(line) OR json_type(line) <> 'OBJECT' THEN '{MALFORMED}'"
    return Columns(
        relation=lists.relation(relation), found=found, position=_position(lists),
        plain=frozenset(() if nested else found), problems=(broken, *filter(None, [lists.problem])),
        row="CASE WHEN json_valid(line) THEN line ELSE to_json(line)::VARCHAR END",
    )  # fmt: skip


def _at(name: str, own: Mapping[str, Found], lists: Lists) -> Found | None:
    """The value at a path, None if there is none."""
    steps = parse_path(name)
    last = next((at for at, step in enumerate(steps) if step.each), len(steps) - 1)
    found = own.get(steps[0].name)
    found = chosen(*found, steps[0]) if found else None
    found = descend(*found, steps[1 : last + 1]) if found else None
    return lists.each(*found, steps[last + 1 :]) if found and steps[last].each else found


def _position(lists: Lists) -> str:
    """The row's number, and within it that of the element; lists are shorter than 65,536."""
    return f"{ROW} * 65536 + least({lists.place}, 65535)"


def _of_rows(wanted: Wanted) -> tuple[str, ...]:
    """Columns that may hold lists, the items first; what is in a list already is none of them."""
    return tuple(name for name in wanted.listed if not any(step.each for step in parse_path(name)))


def _valid(text: str) -> str:
    return f"CASE WHEN json_valid({text}) THEN {text} END"


def _has_lists(rows: pa.Table, name: str, kind: pa.DataType) -> bool:
    """Whether a column of a type has lists in a chunk; a quick look, because hardly any chunk has."""
    if not is_text(kind):
        return _may_be_list(kind)
    column = name if name in rows.schema.names else outermost(name)
    if column not in rows.schema.names or not is_text(rows[column].type):
        return False
    return _any(rows[column], _BEGINS_LIST if column == name else r"[\[(]")


def _has_key_of_lists(rows: pa.Table, name: str) -> bool:
    """Whether some line has a list, or a text of one, under the last key of a path."""
    key = "".join(f"\\x{{{ord(one):x}}}" for one in parse_path(name)[-1].name)
    return _any(rows["line"], rf'"{key}"\s*:\s*("({_BLANK}|\\u[0-9a-fA-F]{{{{4}}}}|\\[tnrbf])*)?[\[(]')


def _any_begins(rows: pa.Table, name: str) -> bool:
    """Whether a text of a column begins like a list or an object; one look is faster than a case for each value."""
    if name not in rows.schema.names or not is_text(rows[name].type):
        return False
    return _any(rows[name], _BEGINS)


def _any(column: pa.ChunkedArray, pattern: str) -> bool:
    return pc.any(pc.match_substring_regex(column, pattern)).as_py() is True  # pyright: ignore


def _may_be_list(kind: pa.DataType) -> bool:
    """Whether values may be lists of ids or numbers; objects need a path to the one that is meant."""
    if is_list(kind):
        inner = kind.value_type
        return not pa.types.is_nested(inner) or (pa.types.is_struct(inner) and inner.num_fields == 1)
    return is_text(kind)
