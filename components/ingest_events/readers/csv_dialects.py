"""How a CSV file separates and quotes, from its first lines."""

import csv
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from components.ingest_events.readers.chunks import check_text, check_unique, is_utf8
from components.ingest_events.readers.json_files import begins_with_object
from components.shared.errors import InputError, SchemaError
from components.shared.wording import counted

MOST_COLUMNS = 16_384
"""Those of a spreadsheet; a longer header is that of a file without line breaks."""

_WIDE = 200
"""With more columns only those that are wanted are kept, because others would fill the memory."""

_SEPARATORS = ",;\t|\x01"
"""In order of preference; \\x01 is Hive's."""

_QUOTED = re.compile('"[^"]*"')


@dataclass(frozen=True)
class Dialect:
    """How a file separates and quotes.

    Attributes:
        header: column names, '' for unnamed ones. separator: between fields. escape: character before a quote within
            quotes, '' if quotes are doubled. kept: places of the columns that are kept.
    """

    header: tuple[str, ...]
    separator: str
    escape: str = ""
    kept: tuple[int, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All names."""
        return tuple(filter(None, self.header))

    @property
    def kept_names(self) -> list[str]:
        """Names of the columns that are kept."""
        return [self.header[at] for at in self.kept]

    def reader(self, lines: Iterator[str]) -> Any:
        """A strict reader of records."""
        doubled = not self.escape
        return csv.reader(
            lines, delimiter=self.separator, strict=True, doublequote=doubled, escapechar=self.escape or None
        )

    def fitted(self, record: list[str]) -> list[str] | None:
        """The record with as many fields as the header, None if it has another number of fields.

        Blank fields beyond the header are left out, and unnamed columns at its end may be missing.
        """
        width = len(self.header)
        if len(record) > width and not any(field.strip() for field in record[width:]):
            record = record[:width]
        missing = width - len(record)
        if missing > 0 and not any(self.header[-missing:]):
            record = [*record, *[""] * missing]
        return record if len(record) == width else None

    def mismatch(self, fields: int) -> str:
        """Why a record of so many fields is refused."""
        shown = counted(fields, "field") if fields <= 2 * len(self.header) + 10 else "many more fields"
        return f"line has {shown}, the header {len(self.header)}"


def dialect_of(text: str, name: str, columns: Sequence[str], wanted: Collection[str]) -> tuple[Dialect, str]:
    """The dialect of a file, and its text after what declares it.

    Args:
        text: Its first block.
        name: What errors call it.
        columns: Names of the columns of a file without a header; empty: the first line is the header.
        wanted: Columns that are kept of many; empty: all.

    Raises:
        InputError: the first line is not UTF-8, or no CSV.
        SchemaError: two columns have the same name, or there are more than MOST_COLUMNS, or none has a name.
    """
    separator = ""
    if text[:4].lower() == "sep=" and text[5:6] == "\n":
        # Written by and for Excel.
        separator, text = text[4], text[6:]
    head, _, rest = text.partition("\n")
    _check_head(head, text, name)
    separator = separator or _separator(head)
    escape = "\\" if _has_escapes(text, separator) else ""
    if columns:
        check_unique(list(columns), "`columns`")
        return _dialect(tuple(columns), separator, escape, wanted), text
    names = [column.strip() for column in next(csv.reader([head], delimiter=separator))]
    if len(names) > MOST_COLUMNS:
        raise SchemaError(
            f"{name} has a first line of {len(names):,} columns, {MOST_COLUMNS:,} are read",
            "check that it is a CSV file with line breaks, and leave out columns that are no part of events or items",
        )
    check_unique(names, name)
    if not any(names):
        raise SchemaError(f"{name} has a header without names", "name the columns in its first line, or give `columns`")
    return _dialect(tuple(names), separator, escape, wanted), rest


def _dialect(header: tuple[str, ...], separator: str, escape: str, wanted: Collection[str]) -> Dialect:
    named = [at for at, column in enumerate(header) if column]
    if wanted and len(header) > _WIDE:
        # Without any column a chunk would have no rows.
        named = [at for at in named if header[at] in wanted] or named[:1]
    return Dialect(header, separator, escape, tuple(named))


def _check_head(head: str, text: str, name: str) -> None:
    check_text(head, name)
    if not is_utf8(head):
        raise InputError(f"{name} is not UTF-8", "convert it, for instance with iconv -f gb18030 -t utf-8")
    if begins_with_object(text):
        raise InputError(f"{name} is JSON and no CSV", "let its name end with .json or .jsonl instead")


def _separator(head: str) -> str:
    """The most frequent separator outside quotes."""
    return max(_SEPARATORS, key=_QUOTED.sub("", head).count)


def _has_escapes(text: str, separator: str) -> bool:
    r"""Whether quotes within quotes are written \", as MySQL does, and not doubled.

    A \" at the end of a field may be a backslash and the closing quote, as in "C:\"; an empty field "" is no doubled
    quote, and neither are the two quotes of an escaped one before the end, as in "so \"big\"".
    """
    end = f"[{re.escape(separator)}\n]"
    escaped = len(re.findall(rf'\\"(?!{end}|"|\Z)', text))
    if not escaped:
        return False
    empty = len(re.findall(rf'(?:\A|(?<={end}))""(?={end}|\Z)', text))
    return escaped > len(re.findall(r'(?<!\\)""', text)) - empty
