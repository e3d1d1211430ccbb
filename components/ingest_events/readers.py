"""Read Parquet, CSV and JSON Lines chunk by chunk in bounded memory, without losing a line.

CSV engines lose lines after an unclosed quote, which extends to the next quote. Blocks without quotes are therefore
parsed by pyarrow, one record per line, and blocks with quotes by Python's csv module, record by record.
"""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from components.shared.errors import InputError, SchemaError

BLOCK_CHARACTERS = 8 << 20
"""Number of characters read at a time; about the size of a chunk."""
LONGEST_RECORD = 64 << 20
"""Maximum characters of a line; longer lines mean that the file has another format."""
PARQUET_BATCH = 262_144
"""Rows of a Parquet chunk."""
LONGEST_QUOTED = 1_000
"""Maximum lines of a quoted CSV record; beyond it the quote counts as unclosed."""

MALFORMED = "line is malformed"
NOT_UTF8 = "line is not UTF-8"


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some unconverted rows of a file, and the malformed lines among them."""

    rows: pa.Table
    malformed: list[tuple[str, str]]
    """(line, reason)."""
    share: float
    """Share of the file read so far, 0 to 1."""


def read_parquet(stream: IO[bytes], name: str) -> Iterator[Chunk]:
    """Read a Parquet file by batches.

    Raises:
        InputError: the file is corrupt.
        SchemaError: two columns have the same name.
    """
    try:
        file = pq.ParquetFile(stream)
        _check_unique(file.schema_arrow.names, name)
        total, done = max(file.metadata.num_rows, 1), 0
        for batch in file.iter_batches(batch_size=PARQUET_BATCH):
            done += batch.num_rows
            yield Chunk(rows=pa.Table.from_batches([batch]), malformed=[], share=done / total)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{name} cannot be read as Parquet: {str(error).splitlines()[0]}",
            "write the file again, or remove it from the source; it may be truncated",
        ) from error


def read_json_lines(stream: IO[bytes], name: str, size: int) -> Iterator[Chunk]:
    """Read JSON Lines into one text column named `line`; blank lines are skipped, invalid JSON is detected later.

    Raises:
        InputError: a line is longer than LONGEST_RECORD.
    """
    for block, share in _blocks(stream, name, size):
        lines = [line for line in block.split("\n") if line and not line.isspace()]
        malformed = [(_readable(line), NOT_UTF8) for line in lines if not _is_utf8(line)]
        if malformed:
            lines = [line for line in lines if _is_utf8(line)]
        yield Chunk(rows=pa.table({"line": pa.array(lines, pa.string())}), malformed=malformed, share=share)


def read_csv(stream: IO[bytes], name: str, size: int) -> Iterator[Chunk]:
    """Read a CSV file with a header into text columns; the separator is the most frequent one in the header.

    Raises:
        InputError: the header is not UTF-8, or a line is longer than LONGEST_RECORD.
        SchemaError: two columns have the same name.
    """
    header: list[str] = []
    separator, carry = ",", ""
    for block, share in _blocks(stream, name, size):
        text = carry + block
        if not header:
            head, _, text = text.removeprefix("\ufeff").lstrip("\n").partition("\n")
            if not head:
                continue
            separator = max(",;\t|", key=head.count)
            header = _header(head, separator, name)
        last = share >= 1.0
        if '"' not in text and _is_utf8(text):
            yield _unquoted(text, header, separator, share)
            carry = ""
        else:
            records = _QuotedRecords(header, separator)
            carry = records.read(text, last)
            yield Chunk(rows=records.table(), malformed=records.malformed, share=share)


def _header(line: str, separator: str, name: str) -> list[str]:
    if not _is_utf8(line):
        raise InputError(f"{name} is not UTF-8", "convert it, for instance with iconv -f gb18030 -t utf-8")
    names = [column.strip() for column in next(csv.reader([line], delimiter=separator))]
    _check_unique(names, name)
    return names


def _unquoted(text: str, header: list[str], separator: str, share: float) -> Chunk:
    """Parse lines without quotes; fast, because no record spans several lines."""
    malformed: list[tuple[str, str]] = []

    def keep(row: arrow_csv.InvalidRow) -> str:
        malformed.append((row.text, MALFORMED))
        return "skip"

    if not text.strip("\n"):
        return Chunk(rows=_text_table(header, []), malformed=[], share=share)
    # Arrow strips a leading byte order mark; an additional one preserves a mark at the start of the block.
    encoded = codecs.BOM_UTF8 + text.encode()
    rows = arrow_csv.read_csv(
        io.BytesIO(encoded),
        arrow_csv.ReadOptions(column_names=header, block_size=len(encoded) + 1),
        arrow_csv.ParseOptions(delimiter=separator, quote_char=False, invalid_row_handler=keep),
        arrow_csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False),
    )
    return Chunk(rows=rows, malformed=malformed, share=share)


class _QuotedRecords:
    """Parser of CSV text with quotes; it sets malformed lines aside and restarts at the next line."""

    def __init__(self, header: list[str], separator: str):
        self._header = header
        self._separator = separator
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
        following = (lines[index] + "\n" for index in range(start, len(lines)))
        reader = csv.reader(following, delimiter=self._separator, strict=True)
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
                self.malformed.append((_readable(lines[begin]), MALFORMED))
                return begin + 1
            end = start + reader.line_num
            self._keep(record, lines, begin, end)

    def _keep(self, record: list[str], lines: list[str], begin: int, end: int) -> None:
        if not record:
            return
        if len(record) != len(self._header):
            self.malformed.append((_readable("\n".join(lines[begin:end])), MALFORMED))
        elif not all(map(_is_utf8, record)):
            self.malformed.append((_readable("\n".join(lines[begin:end])), NOT_UTF8))
        else:
            self._rows.append(record)

    def table(self) -> pa.Table:
        """The valid records."""
        return _text_table(self._header, self._rows)


def _text_table(header: list[str], rows: list[list[str]]) -> pa.Table:
    columns: list[Any] = list(zip(*rows, strict=True)) if rows else [[] for _ in header]
    return pa.table([pa.array(column, pa.string()) for column in columns], names=header)


def _blocks(stream: IO[bytes], name: str, size: int) -> Iterator[tuple[str, float]]:
    """Yield blocks of whole lines, each ending with a line break, and the share of the file read; the last is 1."""
    plain = cast(IO[bytes], gzip.open(stream)) if name.lower().endswith(".gz") else stream
    # Bytes that are not UTF-8 become lone surrogates, so that their line can be reported and the others kept.
    with io.TextIOWrapper(plain, encoding="utf-8", errors="surrogateescape", newline=None) as text:
        held = ""
        while read := _read(text, name):
            held += read
            cut = held.rfind("\n") + 1
            if len(held) - cut > LONGEST_RECORD:
                raise InputError(
                    f"{name} has a line of more than {LONGEST_RECORD:,} characters",
                    "check that it is a text file with line breaks",
                )
            if cut:
                yield held[:cut], min(stream.tell() / max(size, 1), 0.999)
                held = held[cut:]
        yield held + "\n", 1.0


def _read(text: io.TextIOWrapper, name: str) -> str:
    try:
        return text.read(BLOCK_CHARACTERS)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{name} cannot be read: {error}", "write the file again; it may be truncated") from error


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _readable(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _check_unique(names: list[str], name: str) -> None:
    for column in names:
        if names.count(column) > 1:
            raise SchemaError(f"{name} has two columns named '{column}'", "rename one of them")
