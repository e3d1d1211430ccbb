"""Files of a shop: a file, folder or glob of Parquet, CSV or JSON, on disk or in an object store (fsspec)."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

import duckdb
import numpy as np
import pyarrow as pa

from components.ingest_events import sql
from components.ingest_events.binding import Binding
from components.ingest_events.columns import FILE, ROW
from components.ingest_events.files import SourceFiles, path_columns, source_files
from components.ingest_events.opening import opened
from components.ingest_events.readers.batches import Batch, Part, batches
from components.ingest_events.readers.chunks import Chunk
from components.ingest_events.readers.csv_files import read_csv
from components.ingest_events.readers.json_files import read_json
from components.ingest_events.readers.parquet_files import read_parquet
from components.ingest_events.sources import FileCounts, Selection, unreadable
from components.shared.schema.paths import outermost

_NAMED = 3
"""Names of skipped files in messages."""


@dataclass(frozen=True, kw_only=True)
class TabularFiles:
    """The rows of one table in all files of a source."""

    uri: str
    """Plain path, file://, s3:// or any other scheme that fsspec supports; may be a glob."""
    binding: Binding
    columns: tuple[str, ...] = ()
    """Names of the columns of CSV files without a header; empty: they have one."""
    sample: int = 0
    """Number of files of which only the beginning is read; 0: all files are read completely."""
    files: FileCounts = field(default_factory=FileCounts)
    """Counted by `selections`."""

    def selections(self, connection: duckdb.DuckDBPyConnection) -> Iterator[Selection]:
        """Yield the rows of every file, in the order of the file names.

        Raises:
            InputError: there is no file, or a file cannot be read.
            SchemaError: a mapped or required column does not exist, or its type cannot be read.
        """
        found = source_files(self.uri)
        for path, reason in found.skipped.items():
            self.files.skipped[reason] = self.files.skipped.get(reason, 0) + 1
            names = self.files.names.setdefault(reason, [])
            names.extend([path] if len(names) < _NAMED else [])
        unseen, keys = dict(self.binding.wanted()), set[str]()
        start = 0
        for batch in batches(self._parts(found)):
            first = batch.parts[0]
            if first.kind == "json" and unseen:
                keys |= _keys(connection, batch.table()) | first.constants.keys()
                unseen = {name: ours for name, ours in unseen.items()
                          if name not in keys and outermost(name) not in keys}  # fmt: skip
            elif first.kind != "json":
                unseen = {}
            for selection in self._selected(connection, batch, start):
                yield dataclasses.replace(selection, share=batch.parts[-1].share)
            start += batch.rows
        if keys:
            self.binding.check(unseen, sorted(keys), self.uri)

    def _parts(self, found: SourceFiles) -> Iterator[Part]:
        chosen = list(found.chosen.items())
        if self.sample:
            chosen = chosen[:: -(-len(chosen) // self.sample)]
        wanted = self.binding.wanted()
        for index, (path, kind) in enumerate(chosen):
            constants = path_columns(path)
            with opened(found.filesystem, path) as stream:
                for chunk in self._chunks(stream, path, kind, found.sizes[path]):
                    if kind != "json":
                        self.binding.check(wanted, [*chunk.columns, *constants], path)
                    self.files.rows += chunk.rows.num_rows + len(chunk.malformed)
                    share = (index + chunk.share) / len(chosen)
                    yield Part(path=path, kind=kind, constants=constants, chunk=chunk, share=share)
                    if self.sample:
                        break
            self.files.read += 1

    def _chunks(self, stream: IO[bytes], path: str, kind: str, size: int) -> Iterator[Chunk]:
        if kind == "parquet":
            return read_parquet(stream, path, self.binding.needed())
        return (
            read_json(stream, path, size)
            if kind == "json"
            else read_csv(stream, path, size, self.columns, self.binding.needed())
        )

    def _selected(self, connection: duckdb.DuckDBPyConnection, batch: Batch, start: int) -> Iterator[Selection]:
        malformed = batch.malformed()
        if malformed is not None:
            connection.register("chunk_malformed", malformed)
            row = "to_json(bad_line)::VARCHAR"
            yield Selection(
                relation="chunk_malformed", values={}, problem="bad_reason", row=row, source_file="bad_file"
            )
            connection.unregister("chunk_malformed")
        if not batch.rows:
            return
        rows, first = batch.table(), batch.parts[0]
        if first.kind == "json":
            selection = self.binding.of_json(rows, first.constants)
        else:
            rows, selection = self.binding.of_table(rows, first.path, first.constants)
        numbers = pa.array(np.arange(start, start + batch.rows))
        with unreadable(first.path):
            connection.register("chunk", rows.append_column(FILE, batch.files()).append_column(ROW, numbers))
        paths = {part.path for part in batch.parts}
        # A constant is cheaper than a text in each row.
        alone = sql.literal(first.path) if len(paths) == 1 else selection.source_file
        yield dataclasses.replace(selection, source_file=alone, label=first.path)
        connection.unregister("chunk")


def _keys(connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> set[str]:
    """Keys of the JSON objects in a chunk."""
    connection.register("chunk_keys", rows)
    objects = "CASE WHEN json_valid(line) AND json_type(line) = 'OBJECT' THEN line END"
    found = connection.execute(f"SELECT DISTINCT unnest(json_keys({objects})) FROM chunk_keys").fetchall()
    connection.unregister("chunk_keys")
    return {key for (key,) in found}
