"""Files of a shop: a file or folder of Parquet, CSV or JSON Lines, on disk or in an object store (fsspec)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import duckdb
import pyarrow as pa

from components.ingest_events import sql
from components.ingest_events.readers import MALFORMED, Chunk, read_csv, read_json_lines, read_parquet
from components.ingest_events.sources import Selection
from components.shared.errors import InputError, SchemaError
from components.shared.fingerprint import files_below
from components.shared.schema.mapping import SCHEMAS, ColumnMapping

_PARQUET = (".parquet", ".pq")
_CSV = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
_JSON = (".jsonl", ".ndjson", ".json", ".jsonl.gz", ".ndjson.gz", ".json.gz")
_REQUIRED = {"events": ("user_id", "event_type", "timestamp"), "items": ("item_id",), "users": ("user_id",)}

_Bound = dict[str, tuple[str, pa.DataType]]
"""Source column -> SQL that reads it from the chunk, and its Arrow type."""


@dataclass(frozen=True)
class TabularFiles:
    """The rows of one table in all files below a URI."""

    uri: str
    """Plain path, file://, s3:// or any other scheme that fsspec supports."""
    table: str
    """events, items or users."""
    mapping: ColumnMapping

    def selections(self, connection: duckdb.DuckDBPyConnection) -> Iterator[Selection]:
        """Yield the rows of every file, in the order of the file names.

        Raises:
            InputError: there is no file, or a file cannot be read.
            SchemaError: a mapped or required column does not exist.
        """
        filesystem, files = self.files()
        wanted = self._wanted()
        unseen = dict(wanted)
        keys: set[str] = set()
        for index, path in enumerate(files):
            with self._open(filesystem, path) as stream:
                for chunk in _chunks(stream, path, int(filesystem.size(path) or 0)):
                    share = (index + chunk.share) / len(files)
                    if _is_json(path) and unseen:
                        keys |= _keys(connection, chunk)
                        unseen = {theirs: ours for theirs, ours in unseen.items() if theirs not in keys}
                    elif not _is_json(path):
                        _check_columns(wanted, chunk.rows.column_names, path)
                        unseen = {}
                    yield from self._staged(connection, chunk, path, share)
        _check_columns(unseen, sorted(keys), self.uri)

    def files(self) -> tuple[Any, list[str]]:
        """The file system and the sorted paths of files in a supported format.

        Raises:
            InputError: there is no such file, or the URI cannot be opened.
        """
        filesystem, details = files_below(self.uri)
        found = list(details)
        there = found or filesystem.exists(self.uri)
        files = [path for path in found if path.lower().endswith((*_PARQUET, *_CSV, *_JSON))]
        if not files:
            names = ", ".join(path.rsplit("/", 1)[-1] for path in found[:5]) or "nothing"
            wrong = "has no .parquet, .csv, .tsv or .jsonl file" if there else "does not exist"
            raise InputError(
                f"source '{self.uri}' {wrong}",
                f"give 'complete-journey', or a file, folder or URI with such files; found there: {names}",
            )
        return filesystem, files

    def _open(self, filesystem: Any, path: str) -> IO[bytes]:
        try:
            return filesystem.open(path, "rb")
        except OSError as error:
            raise InputError(f"{path} cannot be opened: {error.strerror or error}", "check its permissions") from error

    def _columns(self) -> dict[str, str | list[str]]:
        """Contract column -> source column, for mapped columns."""
        return dict(self.mapping.columns.get(self.table, {}))

    def _wanted(self) -> dict[str, str]:
        """Source column that must exist -> contract column."""
        wanted: dict[str, str] = {}
        constants = self.mapping.constants.get(self.table, {})
        named = self._columns()
        for ours, theirs in named.items():
            wanted.update(dict.fromkeys([theirs] if isinstance(theirs, str) else theirs, ours))
        for ours in _REQUIRED[self.table]:
            if ours not in constants and ours not in named:
                wanted[ours] = ours
        return wanted

    def _staged(
        self, connection: duckdb.DuckDBPyConnection, chunk: Chunk, path: str, share: float
    ) -> Iterator[Selection]:
        if chunk.malformed:
            lines = pa.table(list(zip(*chunk.malformed, strict=True)), names=["bad_line", "bad_reason"])
            connection.register("chunk_malformed", lines)
            row = "to_json(bad_line)::VARCHAR"
            yield Selection(
                relation="chunk_malformed", values={}, problem="bad_reason", row=row, source_file=path, share=share
            )
            connection.unregister("chunk_malformed")
        if chunk.rows.num_rows:
            yield from self._rows(connection, chunk.rows, path, share)

    def _rows(
        self, connection: duckdb.DuckDBPyConnection, rows: pa.Table, path: str, share: float
    ) -> Iterator[Selection]:
        if _is_json(path):
            relation, bound, row = self._json_relation()
            broken = f"WHEN NOT json_valid(line) OR json_type(line) <> 'OBJECT' THEN '{MALFORMED}'"
        else:
            # Numbered names cannot clash with contract columns, whatever the column names of the file are.
            relation, broken = "chunk", ""
            bound = {field.name: (f"c{i}", field.type) for i, field in enumerate(rows.schema)}
            pairs = ", ".join(f"{sql.literal(name)}, {sql.json_of(*source)}" for name, source in bound.items())
            row = f"json_object({pairs})::VARCHAR"
            rows = rows.rename_columns([f"c{i}" for i in range(rows.num_columns)])
        connection.register("chunk", rows)
        values, unreadable = self._values(bound)
        problem = f"CASE {broken} {unreadable} END" if broken or unreadable else "NULL"
        yield Selection(relation=relation, values=values, problem=problem, row=row, source_file=path, share=share)
        connection.unregister("chunk")

    def _json_relation(self) -> tuple[str, _Bound, str]:
        """SQL that reads every needed column in one pass over each line: relation, columns, raw row."""
        theirs = [*self._wanted(), *SCHEMAS[self.table].names]
        names = list(dict.fromkeys(theirs))
        pointers = ", ".join(sql.literal("/" + name.replace("~", "~0").replace("/", "~1")) for name in names)
        text = "CASE WHEN json_valid(line) THEN line END"
        relation = f"(SELECT line, json_extract_string({text}, [{pointers}]) AS fields FROM chunk)"
        bound: _Bound = {name: (f"fields[{i + 1}]", pa.string()) for i, name in enumerate(names)}
        row = "CASE WHEN json_valid(line) THEN line ELSE to_json(line)::VARCHAR END"
        return relation, bound, row

    def _values(self, bound: _Bound) -> tuple[dict[str, str], str]:
        """SQL expression of each contract column, and CASE branches for raw values that cannot be read."""
        values: dict[str, str] = {}
        unreadable: list[str] = []
        constants = self.mapping.constants.get(self.table, {})
        named = self._columns()
        for field in SCHEMAS[self.table]:
            theirs = named.get(field.name, field.name)
            if field.name in constants:
                values[field.name] = sql.value(field, sql.literal(constants[field.name]), pa.string())
            elif isinstance(theirs, list):
                values[field.name] = sql.map_of({name: bound[name][0] for name in theirs})
            elif theirs in bound:
                raw, kind = bound[theirs]
                values[field.name] = sql.value(field, raw, kind)
                given = f"trim({raw}::VARCHAR) <> ''"
                if not pa.types.is_string(field.type):
                    unreadable.append(f"WHEN {given} AND {field.name} IS NULL THEN '{field.name} cannot be read'")
        if "event_type" in values:
            values["event_type"] = self._event_type(values["event_type"])
        if self.table == "items":
            values["available"] = f"coalesce({values.get('available', 'NULL')}, true)"
        return values, " ".join(unreadable)

    def _event_type(self, raw: str) -> str:
        folded = f"lower(trim({raw}))"
        cases = " ".join(
            f"WHEN {sql.literal(theirs)} THEN '{ours}'" for theirs, ours in self.mapping.event_types.items()
        )
        return f"CASE {folded} {cases} ELSE {folded} END" if cases else folded


def _chunks(stream: IO[bytes], path: str, size: int) -> Iterator[Chunk]:
    lower = path.lower()
    if lower.endswith(_PARQUET):
        return read_parquet(stream, path)
    return read_json_lines(stream, path, size) if _is_json(path) else read_csv(stream, path, size)


def _is_json(path: str) -> bool:
    return path.lower().endswith(_JSON)


def _keys(connection: duckdb.DuckDBPyConnection, chunk: Chunk) -> set[str]:
    """Keys of the JSON objects in a chunk."""
    connection.register("chunk_keys", chunk.rows)
    objects = "CASE WHEN json_valid(line) AND json_type(line) = 'OBJECT' THEN line END"
    found = connection.execute(f"SELECT DISTINCT unnest(json_keys({objects})) FROM chunk_keys").fetchall()
    connection.unregister("chunk_keys")
    return {key for (key,) in found}


def _check_columns(wanted: dict[str, str], columns: list[str], where: str) -> None:
    for theirs, ours in wanted.items():
        if theirs not in columns:
            renamed = f" (mapped to '{ours}')" if theirs != ours else ""
            raise SchemaError(
                f"{where} has no column '{theirs}'{renamed}",
                f'map one of its columns, like --mapping \'{{"{ours}": "theirs"}}\'; it has: {", ".join(columns)}',
            )
