"""Looks at a source without training: which columns it has, what they probably are, and what became of some rows."""

import dataclasses
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from components.ingest_events.accounting import table_account
from components.ingest_events.binding import REQUIRED, Binding
from components.ingest_events.files import source_files
from components.ingest_events.peek import peek
from components.ingest_events.rules import IGNORED
from components.ingest_events.staging import stage, staging
from components.ingest_events.tabular import TabularFiles
from components.ingest_events.values import Reading
from components.shared.schema.account import UNKNOWN_TYPE, TableAccount
from components.shared.schema.column_words import guess_columns
from components.shared.schema.data_options import DataOptions
from components.shared.schema.event_words import event_type_of
from components.shared.schema.mapping import SCHEMAS, parse_mapping
from components.shared.schema.presets import matching, over, preset

FILES = 4
"""Number of files of which the beginning is read."""
_SHOWN = 5
"""Rows of each kind that are shown."""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What is known of the source of one table.

    Attributes:
        table: events, items or users. uri: of the source. files: number of files of each format. size: their bytes.
        columns: columns and paths of the first file, each with some of its values.
        preset: that of the source's form, '' if none is known or one is given. guessed: what was added to the mapping.
        mapping: that of the preset, the guessed and the given one. missing: needed columns that none of the source's
        seem to be; without them no row is read. account: of the rows that were read. sampled: number of files that they
        are from. span: earliest and latest time of events (UTC). rows: some valid rows. rejected: some rejected ones,
        with their reasons.
    """

    table: str
    uri: str
    files: Mapping[str, int]
    size: int
    columns: Mapping[str, list[Any]]
    preset: str = ""
    guessed: Mapping[str, Any] = field(default_factory=dict)
    mapping: Mapping[str, Any] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    account: TableAccount = field(default_factory=lambda: TableAccount(rows=0, kept=0))
    sampled: int = 0
    span: tuple[str, str] | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)


def inspect_source(uri: str, table: str, options: DataOptions) -> Inspection:
    """Read the beginning of some files of a source.

    Args:
        uri: File, folder, URI or glob.
        table: events, items or users.
        options: Mapping, columns, formats; what the mapping leaves open is guessed.

    Raises:
        InputError: the source cannot be read or has no rows.
        SchemaError: a mapped column is missing.
    """
    found = source_files(uri)
    columns = peek(uri, found, options.all_columns() if table == "events" else ())
    form = matching(columns) if table == "events" and not options.preset else ""
    known = preset(form).mapping if form else {}
    if form and preset(form).columns:
        columns = peek(uri, found, preset(form).columns)
    guessed = _guess(table, columns, over(known, options.full_mapping()))
    mapping = over(over(known, guessed), options.full_mapping())
    sizes = list(found.chosen.values())
    seen = Inspection(
        table=table, uri=uri, files={kind: sizes.count(kind) for kind in sorted(set(sizes))},
        size=sum(found.sizes.values()), columns=columns, preset=form, guessed=guessed, mapping=mapping,
        missing=_missing(table, columns, mapping),
    )  # fmt: skip
    return seen if seen.missing else _sampled(seen, options)


def _guess(table: str, columns: Mapping[str, list[Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    parsed = parse_mapping(given)
    mapped, fixed = parsed.columns[table], parsed.constants[table]
    taken = {one for theirs in mapped.values() for one in ([theirs] if isinstance(theirs, str) else theirs)}
    free = [name for name in columns if name not in taken]
    begin = "" if table == "events" else f"{table}."
    words = {name: theirs for name, theirs in guess_columns(table, free).items() if name not in {*mapped, *fixed}}
    guessed: dict[str, Any] = {f"{begin}{name}": theirs for name, theirs in words.items()}
    if table == "events" and not {"event_type"} & {*mapped, *fixed, *words, *columns}:
        # A table of orders has no column for the type of its events.
        guessed["constants"] = {"event_type": "purchase"}
    return guessed


def _missing(table: str, columns: Mapping[str, list[Any]], mapping: Mapping[str, Any]) -> tuple[str, ...]:
    parsed = parse_mapping(mapping)
    known = {*parsed.columns[table], *parsed.constants[table], *columns}
    needed = (*REQUIRED[table], *(["item_id"] if table == "events" else []))
    return tuple(one for one in needed if one not in known)


def _sampled(seen: Inspection, options: DataOptions) -> Inspection:
    """The inspection with what became of some rows."""
    with tempfile.TemporaryDirectory(prefix="shoprank-inspect-") as folder:
        read = _read(seen, options, Path(folder))
        unknown = read.account.rejected.get(UNKNOWN_TYPE)
        types = {word: event_type_of(word) for word in (unknown.values if unknown else ())}
        meant = {"event_types": {word: kind for word, kind in types.items() if kind}}
        if not meant["event_types"]:
            return read
        guessed, mapping = over(seen.guessed, meant), over(meant, seen.mapping)
        return _read(dataclasses.replace(seen, guessed=guessed, mapping=mapping), options, Path(folder))


def _read(seen: Inspection, options: DataOptions, folder: Path) -> Inspection:
    table, is_events = seen.table, seen.table == "events"
    reading = Reading.of(options.null_words, options.time_format)
    columns = (preset(seen.preset).columns if seen.preset else options.all_columns()) if is_events else ()
    binding = Binding(table=table, mapping=parse_mapping(seen.mapping), reading=reading)
    files = TabularFiles(uri=seen.uri, binding=binding, columns=columns, sample=FILES)
    with staging(folder / "table") as connection:
        stage(connection, table, files, silent=True)
        rows = _rows(connection, f"SELECT {', '.join(SCHEMAS[table].names)} FROM staged_{table} WHERE reason IS NULL")
        rejected = _rows(connection, f"SELECT reason, row FROM staged_{table} WHERE reason <> '{IGNORED}'")
        times = f"SELECT min(timestamp), max(timestamp) FROM staged_{table} WHERE reason IS NULL" if is_events else ""
        span = connection.execute(times).fetchall()[0] if times else ()
        account = table_account(connection, table, files)
    return dataclasses.replace(
        seen, account=account, sampled=files.files.read, rows=rows, rejected=rejected,
        span=(f"{span[0]:%F %T}", f"{span[1]:%F %T}") if all(span) and span else None,
    )  # fmt: skip


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    return connection.sql(f"{query} ORDER BY position LIMIT {_SHOWN}").to_arrow_table().to_pylist()
