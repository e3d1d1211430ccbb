"""Sentences to people: numbers with their nouns, and text of others that is shown to them."""

import unicodedata


def counted(number: int, noun: str) -> str:
    """A number with its noun in the plural, or in the singular for one.

    >>> counted(1, "file"), counted(12_000, "row")
    ('1 file', '12,000 rows')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def printable(text: str) -> str:
    r"""A text of a source without characters that move a terminal's cursor or change its title.

    >>> printable("tea\x1b[2J")
    'tea�[2J'
    """
    return "".join(sign if sign.isprintable() or unicodedata.category(sign) == "Zs" else "\ufffd" for sign in text)
