"""Reads JSON Lines, and JSON documents that hold the same objects: an array, or objects over several lines."""

import json
import re
from collections.abc import Iterator
from typing import IO

import pyarrow as pa

from components.ingest_events.readers.chunks import (
    LONGEST_RECORD,
    NOT_UTF8,
    Chunk,
    blocks,
    check_text,
    is_utf8,
    readable,
)
from components.shared.errors import InputError

# Only where a value ends is of interest: Python refuses to convert integers of more than 4,300 digits.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)


_BETWEEN = re.compile(r"\} ?\{")
"""Between objects of one line; within an object only texts have it."""


def read_json(stream: IO[bytes], name: str, size: int) -> Iterator[Chunk]:
    """Read objects into one text column named `line`; blank lines are skipped, invalid JSON is detected later.

    Raises:
        InputError: the file is no text, a line is longer than LONGEST_RECORD, or a document ends within an object or
            array.
    """
    found = blocks(stream, name, size)
    first = next(found)
    check_text(first[0][:4], name)
    source = _with_first(first, found)
    if _is_document(first[0]):
        yield from _documents(source, name)
        return
    for block, share in source:
        lines = [line for line in block.split("\n") if line and not line.isspace()]
        if _BETWEEN.search(block):
            lines = [one for line in lines for one in _separated(line)]
        yield _chunk(lines, share)


def _with_first(first: tuple[str, float], rest: Iterator[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    yield first
    yield from rest


def _chunk(lines: list[str], share: float) -> Chunk:
    malformed = [(readable(line), NOT_UTF8) for line in lines if not is_utf8(line)]
    if malformed:
        lines = [line for line in lines if is_utf8(line)]
    return Chunk(rows=pa.table({"line": pa.array(lines, pa.string())}), malformed=malformed, share=share)


def _is_document(block: str) -> bool:
    """Whether a file begins with an array, or with an object that does not end in its first line."""
    text = block.lstrip()
    if text.startswith("["):
        return True
    line = text.partition("\n")[0]
    return text.startswith("{") and not _value_end(line, 0) and _value_end(text, 0) > len(line)


def _separated(line: str) -> list[str]:
    """The objects of a line, as Firehose writes them without line breaks; what follows the last one is one more."""
    found, at = [], 0
    while _BETWEEN.search(line, at) and (end := _value_end(line, at)) > at:
        found.append(line[at:end])
        at = end + line.startswith(" ", end)
    return [*found, line[at:]] if line[at:].strip() else found


def begins_with_object(text: str) -> bool:
    """Whether a text begins with an object, or an array of some, as no CSV does."""
    begin = text.lstrip(" \t\n[")
    end = _value_end(begin, 0) if begin.startswith("{") else 0
    behind = begin[end:].lstrip(" \t")[:1]
    return bool(end) and behind in ("", "\n", "{", *([",", "]"] if text.lstrip().startswith("[") else []))


def _value_end(text: str, at: int) -> int:
    """Where the value that begins at a place ends; the place itself if it is none, or not complete."""
    try:
        return _DECODER.raw_decode(text, at)[1]
    except (ValueError, RecursionError):
        return at


def _documents(source: Iterator[tuple[str, float]], name: str) -> Iterator[Chunk]:
    """The objects of a document, each as one line; the brackets and commas of an array are left out."""
    held, depth = "", 0
    for block, share in source:
        held += block
        lines, at = [], 0
        while True:
            at, depth = _next_value(held, at, depth)
            end = _value_end(held, at) if depth >= 0 else at
            if end == at:
                break
            # Line breaks within strings are escaped, so these are between values.
            lines.append(held[at:end].replace("\n", " "))
            at = end
        held = held[at:]
        if len(held) > LONGEST_RECORD:
            raise InputError(f"{name} has an object of more than {LONGEST_RECORD:,} characters", "write JSON Lines")
        _check_end(held, depth, name, share >= 1.0)
        yield _chunk(lines, share)


def _check_end(left: str, depth: int, name: str, last: bool) -> None:
    """Check what is left of a document after its values."""
    again = "write the file again; it may be truncated"
    if depth < 0:
        raise InputError(f"{name} ends an array that it does not begin, at {left.strip()[:60]!r}", again)
    if last and left.strip():
        raise InputError(f"{name} is no valid JSON at {left.strip()[:60]!r}", again)
    if last and depth:
        raise InputError(f"{name} ends within an array", again)


def _next_value(text: str, at: int, depth: int) -> tuple[int, int]:
    """The next place that is no blank, bracket of an outer array, or comma; and the number of arrays around it.

    It stays at a bracket that closes an array that was not opened, with the number -1.
    """
    while at < len(text) and text[at] in " \t\n[],":
        depth += (text[at] == "[") - (text[at] == "]")
        if depth < 0:
            break
        at += 1
    return at, depth
