"""Reads CSV without losing a line.

CSV engines lose lines after an unclosed quote, which extends to the next quote. Blocks in which every line has the
header's fields and no quote are therefore parsed by pyarrow, one record per line, and the others by Python's csv
module, record by record.
"""

import codecs
import csv
import io
from collections.abc import Collection, Iterator, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.csv as arrow_csv

from components.ingest_events.readers.chunks import (
    LONGEST_RECORD,
    MALFORMED,
    NOT_UTF8,
    Chunk,
    blocks,
    is_utf8,
    readable,
)
from components.ingest_events.readers.csv_dialects import Dialect, dialect_of
from components.shared.errors import InputError

LONGEST_QUOTED = 1_000
"""Maximum lines of a quoted CSV record; beyond it the quote counts as unclosed."""

# Python's own limit for a field is 128 KB; LONGEST_RECORD and LONGEST_QUOTED are those of this reader.
csv.field_size_limit(2 * LONGEST_RECORD)


def read_csv(
    stream: IO[bytes], name: str, size: int, columns: Sequence[str] = (), wanted: Collection[str] = ()
) -> Iterator[Chunk]:
    """Read a CSV file into text columns; the separator is the most frequent one in the first line.

    Args:
        stream: The file.
        name: What errors call it.
        size: Bytes of the file.
        columns: Names of the columns of a file without a header, '' for those that are not used; empty: the first line
            is the header.
        wanted: Columns that are kept of a file with hundreds; empty: all.

    Raises:
        InputError: the file is empty, its first line is not UTF-8 or no CSV, or a line is longer than LONGEST_RECORD.
        SchemaError: two columns have the same name, none has one, or there are too many.
    """
    dialect: Dialect | None = None
    carry = ""
    for block, share in blocks(stream, name, size):
        text = carry + block
        if dialect is None:
            text = text.lstrip("\n")
            if not text:
                continue
            dialect, text = dialect_of(text, name, columns, wanted)
        if '"' not in text and is_utf8(text) and (fast := _unquoted(text, dialect, share)):
            yield fast
            carry = ""
        else:
            records = _Records(dialect)
            carry = records.read(text, share >= 1.0)
            yield Chunk(rows=records.table(), malformed=records.malformed, share=share, columns=dialect.names)
    if dialect is None:
        raise InputError(f"{name} is empty", "remove the file, or write it again with a header")


def _unquoted(text: str, dialect: Dialect, share: float) -> Chunk | None:
    """Parse lines without quotes; fast, because no record spans several lines. None if a line needs a closer look."""
    if not text.strip("\n"):
        return Chunk(rows=_table(dialect, []), share=share, columns=dialect.names)
    # Arrow strips a leading byte order mark; an additional one preserves a mark at the start of the block.
    encoded = codecs.BOM_UTF8 + text.encode()
    numbered = [f"c{at}" for at in range(len(dialect.header))]
    try:
        rows = arrow_csv.read_csv(
            io.BytesIO(encoded),
            arrow_csv.ReadOptions(column_names=numbered, block_size=len(encoded) + 1),
            arrow_csv.ParseOptions(delimiter=dialect.separator, quote_char=False),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(numbered, pa.string()), strings_can_be_null=False,
                include_columns=[numbered[at] for at in dialect.kept],
            ),
        )  # fmt: skip
    except pa.ArrowInvalid:
        return None
    return Chunk(rows=rows.rename_columns(dialect.kept_names), share=share, columns=dialect.names)


class _Records:
    """Parser of any CSV text; it sets malformed lines aside and restarts at the next line."""

    def __init__(self, dialect: Dialect):
        self._dialect = dialect
        self._rows: list[list[str]] = []
        self.malformed: list[tuple[str, str]] = []

    def read(self, text: str, last: bool) -> str:
        """Parse `text`; return the unparsed end if a quote is still open and more text follows."""
        lines = text.split("\n")
        lines.pop()  # the text ends with a line break
        start = 0
        while start < len(lines):
            start = self._read_from(lines, start, last)
            if start < 0:
                return "\n".join(lines[~start:]) + "\n"
        return ""

    def _read_from(self, lines: list[str], start: int, last: bool) -> int:
        """Read records from line `start` until one is malformed; return the next line, or ~line of an open record."""
        reader = self._dialect.reader(lines[index] + "\n" for index in range(start, len(lines)))
        end = start
        while True:
            begin = end
            try:
                record = next(reader)
            except StopIteration:
                return len(lines)
            except csv.Error:
                read = start + reader.line_num
                if read >= len(lines) and not last and read - begin < LONGEST_QUOTED:
                    return ~begin
                self.malformed.append((readable(lines[begin]), MALFORMED))
                return begin + 1
            end = start + reader.line_num
            if end - begin > LONGEST_QUOTED:
                self.malformed.append((readable(lines[begin]), MALFORMED))
                return begin + 1
            self._keep(record, lines, begin, end)

    def _keep(self, record: list[str], lines: list[str], begin: int, end: int) -> None:
        if not record:
            return
        fitted = self._dialect.fitted(record)
        if fitted is None:
            why = self._dialect.mismatch(len(record))
            self.malformed.append((readable("\n".join(lines[begin:end])), why))
        elif not all(map(is_utf8, record)):
            self.malformed.append((readable("\n".join(lines[begin:end])), NOT_UTF8))
        else:
            self._rows.append(fitted)

    def table(self) -> pa.Table:
        """The valid records."""
        return _table(self._dialect, self._rows)


def _table(dialect: Dialect, rows: list[list[str]]) -> pa.Table:
    """Named columns of the records."""
    columns: list[Any] = list(zip(*rows, strict=True)) if rows else [[] for _ in dialect.header]
    return pa.table([pa.array(columns[at], pa.string()) for at in dialect.kept], names=dialect.kept_names)
