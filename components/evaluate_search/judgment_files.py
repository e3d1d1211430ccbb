"""Reads files of judgments, clicks or queries: CSV, JSON or Parquet, by the readers of ingest_events.

Names of columns are compared without case, blanks and punctuation: `Doc ID` is `docid`.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from components.ingest_events.files import SourceFiles, source_files
from components.ingest_events.opening import opened
from components.ingest_events.readers.chunks import MALFORMED, Chunk
from components.ingest_events.readers.csv_files import read_csv
from components.ingest_events.readers.json_files import read_json
from components.ingest_events.readers.parquet_files import read_parquet
from components.shared.errors import InputError, SchemaError

ALIASES: Mapping[str, tuple[str, ...]] = {
    "query": ("query",),
    "item_id": ("item_id", "docid", "doc_id", "product_id"),
    "grade": ("grade", "rating", "relevance", "label"),
    "clicks": ("clicks",),
    "impressions": ("impressions",),
    "position": ("position",),
    "user_id": ("user_id",),
    "timestamp": ("timestamp",),
}
"""Column -> the names that it may have; of several the first is read."""

Row = tuple[Any, ...]
"""Raw values of a row, in the order of ALIASES; None where it has none."""


@dataclass
class JudgmentRows:
    """Unconverted rows of all files of a source.

    Attributes:
        rows: those that could be read. columns: columns of ALIASES that the source has.
        others: names of its other columns. malformed: reason -> lines.
        files: number of files read. skipped: reason -> files that were not read. names: some of these files.
    """

    rows: list[Row] = field(default_factory=list)
    columns: set[str] = field(default_factory=set)
    others: dict[str, None] = field(default_factory=dict)
    malformed: Counter[str] = field(default_factory=Counter)
    files: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def require(self, source: str, *columns: str) -> None:
        """Check that the source has the columns.

        Raises:
            SchemaError: names the first missing one, and the columns that the source has.
        """
        for column in columns:
            if column not in self.columns:
                aliases = [name for name in ALIASES[column] if name != column]
                also = f" (or {', '.join(aliases)})" if aliases else ""
                there = ", ".join([*sorted(self.columns), *self.others]) or "none"
                raise SchemaError(
                    f"judgments '{source}' have no column '{column}'{also}",
                    f"rename the column with it; the columns are: {there}",
                )


def read_judgment_rows(source: str) -> JudgmentRows:
    """Read the columns of ALIASES of every file.

    Args:
        source: File, folder, URI or glob.

    Raises:
        InputError: there is no file, a file cannot be read, or there is no row.
        SchemaError: two columns of a file have the same name.
    """
    files = source_files(source, "judgments")
    found = JudgmentRows()
    for path, reason in files.skipped.items():
        found.skipped[reason] += 1
        found.names[reason] = (*found.names.get(reason, ()), path)[:3]
    for path, kind in files.chosen.items():
        for chunk in _chunks(files, path, kind):
            found.malformed.update(reason for _, reason in chunk.malformed)
            _add(found, chunk, kind)
        found.files += 1
    if not found.rows and not found.malformed:
        raise InputError(f"judgments '{source}' have no rows", "give a file with at least one query")
    return found


def _chunks(files: SourceFiles, path: str, kind: str) -> Iterator[Chunk]:
    names: tuple[str, ...] = ()
    if kind == "parquet":
        with opened(files.filesystem, path) as stream:
            names = next(read_parquet(stream, path, ())).columns
    with opened(files.filesystem, path) as stream:
        if kind == "parquet":
            yield from read_parquet(stream, path, set(_places(names).values()) or set(names[:1]))
        else:
            yield from (read_json if kind == "json" else read_csv)(stream, path, files.sizes[path])


def _add(found: JudgmentRows, chunk: Chunk, kind: str) -> None:
    """Add the rows of a chunk, and the columns that it has."""
    if kind != "json":
        places = _places(chunk.columns)
        _name(found, places, chunk.columns)
        columns = {name: chunk.rows[theirs].to_pylist() for name, theirs in places.items()}
        blank = [None] * chunk.rows.num_rows
        found.rows += zip(*(columns.get(name, blank) for name in ALIASES), strict=True)
        return
    for line in chunk.rows["line"].to_pylist():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict):
            found.malformed[MALFORMED] += 1
            continue
        places = _places(tuple(entry))
        _name(found, places, tuple(entry))
        found.rows.append(tuple(entry[places[name]] if name in places else None for name in ALIASES))


def _name(found: JudgmentRows, places: Mapping[str, str], columns: tuple[str, ...]) -> None:
    found.columns.update(places)
    found.others.update(dict.fromkeys(name for name in columns if name and name not in places.values()))


def _places(columns: tuple[str, ...]) -> dict[str, str]:
    """Column of ALIASES -> the source's column with it."""
    folded = {_folded(name): name for name in reversed(columns)}
    spelled = {
        name: next((folded[_folded(alias)] for alias in aliases if _folded(alias) in folded), None)
        for name, aliases in ALIASES.items()
    }
    return {name: theirs for name, theirs in spelled.items() if theirs is not None}


def _folded(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())
