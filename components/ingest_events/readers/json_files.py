"""Reads JSON Lines, and JSON documents that hold the same objects: an array, or objects over several lines."""

import json
from collections.abc import Iterator
from typing import IO

import pyarrow as pa

from components.ingest_events.readers.chunks import LONGEST_RECORD, NOT_UTF8, Chunk, blocks, is_utf8, readable
from components.shared.errors import InputError

# Only where a value ends is of interest: Python refuses to convert integers of more than 4,300 digits.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)


def read_json(stream: IO[bytes], name: str, size: int) -> Iterator[Chunk]:
    """Read objects into one text column named `line`; blank lines are skipped, invalid JSON is detected later.

    Raises:
        InputError: a line is longer than LONGEST_RECORD, or a document ends within an object.
    """
    found = blocks(stream, name, size)
    first = next(found)
    source = _with_first(first, found)
    if _is_document(first[0]):
        yield from _documents(source, name)
        return
    for block, share in source:
        yield _chunk([line for line in block.split("\n") if line and not line.isspace()], share)


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


def _value_end(text: str, at: int) -> int:
    """Where the value that begins at a place ends; the place itself if it is none, or not complete."""
    try:
        return _DECODER.raw_decode(text, at)[1]
    except (ValueError, RecursionError):
        return at


def _documents(source: Iterator[tuple[str, float]], name: str) -> Iterator[Chunk]:
    """The objects of a document, each as one line; the brackets and commas of an array are left out."""
    held = ""
    for block, share in source:
        held += block
        lines, at = [], 0
        while (at := _next_value(held, at)) < len(held):
            end = _value_end(held, at)
            if end == at:
                break
            # Line breaks within strings are escaped, so these are between values.
            lines.append(held[at:end].replace("\n", " "))
            at = end
        held = held[at:]
        if len(held) > LONGEST_RECORD:
            raise InputError(f"{name} has an object of more than {LONGEST_RECORD:,} characters", "write JSON Lines")
        yield _chunk(lines, share)
    if held.strip():
        raise InputError(
            f"{name} is no valid JSON at {held.strip()[:60]!r}", "write the file again; it may be truncated"
        )


def _next_value(text: str, at: int) -> int:
    """The next place that is no blank, bracket of an outer array, or comma."""
    while at < len(text) and text[at] in " \t\n[],":
        at += 1
    return at
