"""One form of ids for files, catalogs and requests: the id of a shopper in a request is that of her events.

The SQL of ingest_events and the Python of requests follow the same rules, which a test compares.
"""

import math
import re

BLANKS = "".join(
    map(chr, (*range(9, 14), 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000))
)
"""Characters around a value that are not part of it: Unicode's white space."""

MARKS = "\ufeff\u200b"
"""Byte order mark and zero-width space, which exports leave at the edges of values."""

NULL_WORDS = ("null", "\\n", "nan", "none", "n/a", "#n/a", "nil", "undefined", "<na>")
"""What programs write for a missing value, in lower case."""

WHOLE_NUMBER = r"[+-]?\d+\.0*"
"""A whole number with a fraction of zeros, as pandas writes integer ids of a column with missing values."""

_EXACT = 2**53
"""Whole numbers below are exact as floats."""

_WHOLE = re.compile(WHOLE_NUMBER, re.ASCII)


def trimmed(text: str) -> str:
    """The text without blanks and marks at its edges."""
    return text.strip(BLANKS + MARKS)


def identifier(value: object) -> object:
    """The id in a text or number; other values are returned as they are, for the caller's own error.

    >>> identifier(" 10.0 "), identifier(10.0), identifier(10), identifier("0010")
    ('10', '10', '10', '0010')
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() and abs(value) < _EXACT else str(value)
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        return value
    text = trimmed(value)
    return text.split(".", 1)[0] if _WHOLE.fullmatch(text) else text
