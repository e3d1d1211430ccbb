"""What a text that is no time for ingest_events probably is, and the option that reads it, to be pasted in a shell."""

import re


def _option(form: str) -> str:
    # The quotes inside are YAML's, which reads a text that begins with % as a directive.
    return f"--set 'data.time_format=\"{form}\"'"


LOOKS: tuple[tuple[str, str], ...] = (
    (r"(19|20)\d\d", "a year"),
    (r"[2-7]\d{4}(\.\d+)?", "a day number of a spreadsheet; write dates as text"),
    (r"\d{3,4}", "a time of day or a day without its year"),
    (r"-?\d+(\.\d+)?", "no epoch after 1973 in seconds, ms, us or ns"),
    (r"\d{1,2}/[A-Z][a-z]{2}/\d{4}:.*", f"the time of a web server's log: {_option('%d/%b/%Y:%H:%M:%S %z')}"),
    (r"\d{4}年\d{1,2}月\d{1,2}日", f"a Chinese date: {_option('%Y年%m月%d日')}"),
    (r"\d{1,2}\.\d{1,2}\.\d{4}", f"a date with its day first: {_option('%d.%m.%Y')}"),
    (r"\d{1,2}\.\d{1,2}\.\d{4} \d{1,2}:\d\d", f"a date with its day first: {_option('%d.%m.%Y %H:%M')}"),
    (r"\d{1,2}/\d{1,2}/\d{4}", f"a date: {_option('%d/%m/%Y')}, or {_option('%m/%d/%Y')} with its month first"),
    (r"\d{1,2}/\d{1,2}/\d{4} \d{1,2}:\d\d", f"a time: {_option('%d/%m/%Y %H:%M')}, or {_option('%m/%d/%Y %H:%M')}"),
)
"""(pattern of the whole text, what it looks like)."""


def looks_like(text: str) -> str:
    """What a text that cannot be read as a time looks like, '' if nothing known.

    >>> looks_like("45292")
    'a day number of a spreadsheet; write dates as text'
    """
    return next((meaning for pattern, meaning in LOOKS if re.fullmatch(pattern, text.strip())), "")
