"""Numbers with their nouns, for sentences to people."""


def counted(number: int, noun: str) -> str:
    """A number with its noun in the plural, or in the singular for one.

    >>> counted(1, "file"), counted(12_000, "row")
    ('1 file', '12,000 rows')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
