"""What readers yield, and the text of a file in blocks of whole lines."""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any, cast

import pyarrow as pa

from components.shared.errors import InputError, SchemaError

BLOCK_CHARACTERS = 8 << 20
"""Number of characters read at a time; about the size of a chunk."""
LONGEST_RECORD = 64 << 20
"""Maximum characters of a line; longer lines mean that the file has another format."""

MALFORMED = "line is malformed"
NOT_UTF8 = "line is not UTF-8"

_COMPRESSED: tuple[tuple[bytes, Any], ...] = (
    (b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\x00", lzma.open),
    (b"\x28\xb5\x2f\xfd", lambda stream: pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd")),
)  # fmt: skip
"""First bytes of compressed files, whatever their names say."""

_OTHER = {
    b"PAR1": ("is a Parquet file", "let its name end with .parquet"),
    b"PK\x03\x04": ("is a zip archive or a workbook", "unpack it, or save its sheet as CSV"),
}
"""First bytes of files that are no text, what they are and what to do."""

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some unconverted rows of a file, and the malformed lines among them."""

    rows: pa.Table
    malformed: list[tuple[str, str]] = field(default_factory=list)
    """(line, reason)."""
    share: float
    """Share of the file read so far, 0 to 1."""
    columns: tuple[str, ...] = ()
    """Names of all columns of the file; () for JSON, whose objects differ."""


def blocks(stream: IO[bytes], name: str, size: int) -> Iterator[tuple[str, float]]:
    """Yield blocks of whole lines, each ending with a line break, and the share of the file read; the last is 1.

    Compressed files (gzip, bzip2, xz, zstd) and UTF-16 are recognised by their first bytes. Bytes that are not UTF-8
    become lone surrogates, so that their line can be reported and the others kept.

    Args:
        stream: The file, at its beginning.
        name: What errors call it.
        size: Bytes of the file.

    Raises:
        InputError: the file is truncated or no text, or has a line longer than LONGEST_RECORD.
    """
    plain = _decompressed(stream, name)
    encoding = _encoding(plain, name)
    with io.TextIOWrapper(plain, encoding=encoding, errors="surrogateescape", newline=None) as text:
        held = ""
        while read := _read(text, name):
            held += read
            cut = held.rfind("\n") + 1
            if len(held) - cut > LONGEST_RECORD:
                raise InputError(
                    f"{name} has a line of more than {LONGEST_RECORD:,} characters",
                    "check that it is a text file with line breaks",
                )
            if len(read) < BLOCK_CHARACTERS:
                # The end: a line without a line break stays with those before it.
                break
            if cut:
                yield held[:cut], min(stream.tell() / max(size, 1), 0.999)
                held = held[cut:]
        yield held + "\n", 1.0


def _decompressed(stream: IO[bytes], name: str) -> io.BufferedReader:
    first = stream.read(8)
    stream.seek(0)
    for begin, opened in _COMPRESSED:
        if first.startswith(begin):
            return io.BufferedReader(cast(io.RawIOBase, opened(stream)))
    return cast(io.BufferedReader, stream if hasattr(stream, "peek") else io.BufferedReader(cast(io.RawIOBase, stream)))


def _encoding(stream: io.BufferedReader, name: str) -> str:
    try:
        begin = stream.peek(4)[:4]
    except _BROKEN as error:
        raise _truncated(name, error) from error
    if begin in _OTHER:
        what, fix = _OTHER[begin]
        raise InputError(f"{name} {what}, whatever its name says", fix)
    return "utf-16" if begin.startswith(_UTF16) else "utf-8-sig"


_BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, UnicodeError)


def _read(text: io.TextIOWrapper, name: str) -> str:
    try:
        return text.read(BLOCK_CHARACTERS)
    except _BROKEN as error:
        raise _truncated(name, error) from error


def _truncated(name: str, error: Exception) -> InputError:
    return InputError(f"{name} cannot be read: {error}", "write the file again; it may be truncated")


def is_utf8(text: str) -> bool:
    """Whether a text has no bytes that were not UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def readable(text: str) -> str:
    """A text with a replacement character for bytes that were not UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def check_text(begin: str, name: str) -> None:
    """Check that the beginning of a file has no NUL characters, which other encodings than UTF-8 have.

    Raises:
        InputError: it has some.
    """
    if "\0" in begin:
        raise InputError(
            f"{name} has NUL characters in its first line: it is UTF-16 or UTF-32, or no text",
            "convert it, for instance with iconv -f utf-16le -t utf-8",
        )


def check_unique(names: list[str], name: str) -> None:
    """Check that no two columns have the same name; unnamed ones are ignored.

    Raises:
        SchemaError: names the first such column.
    """
    for column, times in Counter(names).items():
        if column and times > 1:
            raise SchemaError(f"{name} has two columns named '{column}'", "rename one of them")
