"""What a text that is no time for ingest_events probably is."""

import re

_LOOKS: tuple[tuple[str, str], ...] = (
    (r"(19|20)\d\d", "a year"),
    (r"[2-7]\d{4}(\.\d+)?", "a day number of a spreadsheet; write dates as text"),
    (r"\d{3,4}", "a time of day or a day without its year"),
    (r"-?\d+(\.\d+)?", "no epoch after 1973 in seconds, ms, us or ns"),
    (r"\d{1,2}/[A-Z][a-z]{2}/\d{4}:.*", "the time of a web server's log: time_format '%d/%b/%Y:%H:%M:%S %z'"),
    (r"\d{4}年\d{1,2}月\d{1,2}日", "a Chinese date: time_format '%Y年%m月%d日'"),
    (r"\d{1,2}\.\d{1,2}\.\d{4}", "a date with its day first: time_format '%d.%m.%Y'"),
    (r"\d{1,2}\.\d{1,2}\.\d{4} \d{1,2}:\d\d", "a date with its day first: time_format '%d.%m.%Y %H:%M'"),
    (r"\d{1,2}/\d{1,2}/\d{4}", "a date: time_format '%d/%m/%Y', or '%m/%d/%Y' with its month first"),
    (r"\d{1,2}/\d{1,2}/\d{4} \d{1,2}:\d\d", "a time: time_format '%d/%m/%Y %H:%M', or '%m/%d/%Y %H:%M'"),
)
"""(pattern of the whole text, what it looks like)."""


def looks_like(text: str) -> str:
    """What a text that cannot be read as a time looks like, '' if nothing known.

    >>> looks_like("45292")
    'a day number of a spreadsheet; write dates as text'
    """
    return next((meaning for pattern, meaning in _LOOKS if re.fullmatch(pattern, text.strip())), "")
