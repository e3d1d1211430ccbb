"""The levels of a category path that is written as a list: JSON, Python's own form, lists of objects."""

import ast
import json
import re
from typing import Any

_LIST = re.compile(r"\[.*,.*\]|\{.*\}|\(.*,.*\)|\[\s*['\"].*", re.DOTALL)
"""What was meant as a list, though it cannot be read: `[A, B]`, `['A', nan]`, a set of Python."""

_NAMES = ("name", "title", "label", "value")
"""Keys of an object whose value is the level's name; an object with a single key needs none of them."""


def category_levels(text: str | None) -> list[str] | None:
    """Read a list of levels.

    >>> category_levels("['Food', 'Drinks']"), category_levels('[{"name": "Drinks"}]'), category_levels('[["A", "B"]]')
    (['Food', 'Drinks'], ['Drinks'], ['A', 'B'])

    Args:
        text: Text that begins with a bracket; one that is no list after all, such as '[new] shoes', is split at '|'
            and '>'.

    Returns:
        Levels; None if the list has several paths or other content than names, or cannot be read.
    """
    if text is None:
        return None
    found = _parsed(text)
    if found is None:
        if _LIST.fullmatch(text):
            return None
        return [step.strip() for step in re.split(r"[|>]", text)]
    return _levels(found if isinstance(found, list) else [found])


def _parsed(text: str) -> Any:
    """The list or object in a text, None if it is plain text."""
    for parse in (json.loads, ast.literal_eval):
        try:
            found = parse(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(found, tuple):
            return list(found)
        return found if isinstance(found, list | dict) else None
    return None


def _levels(found: list[Any]) -> list[str] | None:
    if len(found) == 1 and isinstance(found[0], list):
        return _levels(found[0])
    names = [_name(one) for one in found if one is not None]
    return None if None in names else [name for name in names if name is not None]


def _name(one: Any) -> str | None:
    if isinstance(one, dict):
        keys = list(one) if len(one) == 1 else [name for name in _NAMES if name in one]
        one = one[keys[0]] if keys else None
    if isinstance(one, bool) or not isinstance(one, str | int | float):
        return None
    return str(one)
