"""Lists and objects written as text: JSON, or as Python writes them (pandas does in CSV)."""

import ast
import json
from collections.abc import Sequence

from components.ingest_events import sql
from components.shared.schema.identifiers import BLANKS, MARKS

PYTHON_JSON = "python_json"
"""Name of `python_json` in SQL."""


def python_json(text: str | None) -> str | None:
    """The JSON of a list, tuple or dictionary in Python's form; None for any other text.

    >>> python_json("['a', None]"), python_json("[new] lamp")
    ('["a", null]', None)
    """
    try:
        found = ast.literal_eval(text.strip()) if text else None
        return (
            json.dumps(found, ensure_ascii=False, allow_nan=False) if isinstance(found, list | tuple | dict) else None
        )
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def json_of(raw: str) -> str:
    """SQL of the JSON in a text that holds a list or an object, else null."""
    text = f"trim({raw}, {sql.literal(BLANKS + MARKS)})"
    return (
        f"CASE WHEN left({text}, 1) IN ('[', '{{', '(') THEN "
        f"CASE WHEN json_valid({text}) THEN {text} ELSE {PYTHON_JSON}({text}) END END"
    )


def elements(raw: str) -> str:
    """SQL of the elements of a list as texts; null if the text is no list."""
    return f"list_transform(from_json({json_of(raw)}, '[\"JSON\"]'), lambda one: one->>'$')"


def pointer(names: Sequence[str]) -> str:
    """JSON pointer."""
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)


def unwrapped(raw: str, is_word: bool) -> str:
    """SQL of the value of an object with a single key, as `{"$oid": "u0"}`; other text as it is.

    Args:
        raw: SQL of a text.
        is_word: Whether the only element of a list stands for the list too: a title, but no id.
    """
    key = f"json_keys({json_of(raw)})"
    inner = f"json_extract_string({json_of(raw)}, '/' || replace(replace({key}[1], '~', '~0'), '/', '~1'))"
    cases = f"WHEN left({raw}, 1) = '{{' AND len({key}) = 1 THEN {inner}"
    if is_word:
        alone = f"json_array_length({json_of(raw)}) = 1"
        cases += f" WHEN {_begins_list(raw)} AND {alone} THEN json_extract_string({json_of(raw)}, '/0')"
    return f"CASE {cases} ELSE {raw} END"


def is_nested(text: str, is_id: bool) -> str:
    """SQL of whether a text is an object or a list; a title or a query may begin with a bracket.

    Args:
        text: SQL of a text.
        is_id: Whether it must be an id, so that any list is none.
    """
    begins = f"left({text}, 1) IN ('{{', '[')" if is_id else f"(left({text}, 1) = '{{' OR {_begins_list(text)})"
    # What begins like a list of texts and cannot be read, as ['a', nan], is no id either.
    known = f"{json_of(text)} IS NOT NULL" + (f" OR {_begins_list(text)}" if is_id else "")
    return f"{text} IS NOT NULL AND {begins} AND ({known})"


def _begins_list(text: str) -> str:
    return f"regexp_matches(left({text}, 9), '^\\[\\s*[''\"{{]')"
