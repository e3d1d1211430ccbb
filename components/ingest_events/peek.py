"""The columns of a source's first rows, fields of objects included, with some of their values."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from components.ingest_events.files import SourceFiles
from components.ingest_events.opening import opened
from components.ingest_events.readers.chunks import MALFORMED, Chunk
from components.ingest_events.readers.csv_files import read_csv
from components.ingest_events.readers.json_files import read_json
from components.ingest_events.readers.parquet_files import first_rows
from components.shared.errors import InputError

_ROWS, _VALUES, _DEPTH = 200, 3, 3

_SURROGATES = re.compile("[\ud800-\udfff]")
"""Halves of a character, which JSON can escape and no encoding can write."""


def peek(uri: str, found: SourceFiles, columns: Sequence[str] = ()) -> dict[str, list[Any]]:
    """Column or path -> some of its values, from the first file with a row.

    Args:
        uri: What errors call the source.
        found: Its files.
        columns: Names of the columns of CSV files without a header.

    Raises:
        InputError: a file cannot be read, there is no row, or none that can be read.
    """
    reasons: list[str] = []
    for path, kind in found.chosen.items():
        rows, malformed = _first_rows(found, path, kind, columns)
        if values := _values(rows):
            return values
        reasons += [reason for _, reason in malformed[:1]]
    if reasons:
        raise InputError(
            f"no row of the beginning of '{uri}' can be read: {reasons[0]}",
            "correct the data; for CSV files without a header `columns` gives a name for each field",
        )
    raise InputError(f"source '{uri}' has no rows", "give a source with at least one row")


def _first_rows(
    found: SourceFiles, path: str, kind: str, columns: Sequence[str]
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Rows of a file, and malformed lines among them."""
    with opened(found.filesystem, path) as stream:
        if kind == "parquet":
            return first_rows(stream, path, _ROWS), []
        size = found.sizes[path]
        chunk = next(read_json(stream, path, size) if kind == "json" else read_csv(stream, path, size, columns))
    if kind == "json":
        rows = _objects(chunk)
        return rows, chunk.malformed or ([] if rows else [(line, MALFORMED) for line in _lines(chunk)])
    return chunk.rows.slice(0, _ROWS).to_pylist(), chunk.malformed


def _lines(chunk: Chunk) -> list[str]:
    return chunk.rows["line"].slice(0, _ROWS).to_pylist()


def _objects(chunk: Chunk) -> list[dict[str, Any]]:
    found = []
    for line in _lines(chunk):
        try:
            row = _whole(json.loads(line)) if "\\u" in line else json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            found.append(row)
    return found


def _whole(value: Any) -> Any:
    """A value without halves of characters."""
    if isinstance(value, str):
        return _SURROGATES.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_whole(name): _whole(one) for name, one in value.items()}
    return [_whole(one) for one in value] if isinstance(value, list) else value


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
