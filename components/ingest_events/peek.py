"""The columns of a source's first rows, fields of objects included, with some of their values."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from components.ingest_events.files import SourceFiles
from components.ingest_events.opening import opened
from components.ingest_events.readers.chunks import Chunk
from components.ingest_events.readers.csv_files import read_csv
from components.ingest_events.readers.json_files import read_json
from components.ingest_events.readers.parquet_files import first_rows

_ROWS, _VALUES, _DEPTH = 200, 3, 3


def peek(found: SourceFiles, columns: Sequence[str] = ()) -> dict[str, list[Any]]:
    """Column or path -> some of its values, from the first file with a row; {} if there is no row.

    Args:
        found: The files.
        columns: Names of the columns of CSV files without a header.

    Raises:
        InputError: a file cannot be read.
    """
    for path, kind in found.chosen.items():
        with opened(found.filesystem, path) as stream:
            if kind == "parquet":
                rows = first_rows(stream, path, _ROWS)
            elif kind == "json":
                rows = _objects(next(read_json(stream, path, found.sizes[path])))
            else:
                rows = next(read_csv(stream, path, found.sizes[path], columns)).rows.slice(0, _ROWS).to_pylist()
        if rows:
            return _values(rows)
    return {}


def _objects(chunk: Chunk) -> list[dict[str, Any]]:
    found = []
    for line in chunk.rows["line"].slice(0, _ROWS).to_pylist():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            found.append(row)
    return found


def _values(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in _fields(row, _DEPTH):
            values = found.setdefault(name, [])
            if value not in (None, "") and value not in values and len(values) < _VALUES:
                values.append(value)
    return found


def _fields(row: dict[str, Any], depth: int) -> Iterator[tuple[str, Any]]:
    """Columns and paths of a row; the fields of an object after the object itself."""
    for name, value in row.items():
        yield name, value
        if depth and isinstance(value, dict) and len(value) > 1:
            yield from ((f"{name}.{inner}", one) for inner, one in _fields(value, depth - 1))
        if depth and isinstance(value, list) and value and isinstance(value[0], dict) and "key" not in value[0]:
            yield from ((f"{name}[].{inner}", one) for inner, one in _fields(value[0], 0))
