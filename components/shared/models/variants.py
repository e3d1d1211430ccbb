"""Configs that are one of several dataclasses, as JSON: the class's own name says which one."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any, TypeVar

from components.shared.errors import InputError

T = TypeVar("T")
KIND = "kind"
"""Key of the class's name."""


def variant_to_json(config: Any) -> dict[str, Any]:
    """Fields of the dataclass and the name of its class."""
    return {KIND: type(config).__name__, **dataclasses.asdict(config)}


def json_object(text: str, where: str) -> dict[str, Any]:
    """A pipeline parameter that holds a JSON object; '' is an empty one.

    Raises:
        InputError: it is something else.
    """
    try:
        raw = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise InputError(f"{where} is not JSON: {error}", 'give an object such as {"kind": "..."}') from error
    if not isinstance(raw, dict):
        raise InputError(f"{where} is {raw!r}, not an object", 'give one such as {"kind": "..."}')
    return raw


def variant_from_json(raw: dict[str, Any], classes: Sequence[type[T]], where: str) -> T:
    """The dataclass that `variant_to_json` wrote; absent fields take their defaults.

    Args:
        raw: KIND and fields.
        classes: Which ones it may be.
        where: Name of the field, for errors.

    Raises:
        InputError: no such class, or no such field.
    """
    fields = dict(raw)
    kind = fields.pop(KIND, "")
    chosen = next((one for one in classes if one.__name__ == kind), None)
    if chosen is None:
        names = ", ".join(one.__name__ for one in classes)
        raise InputError(f"{where}: there is no kind '{kind}'", f"use one of: {names}")
    known = {field.name for field in dataclasses.fields(chosen)}  # pyright: ignore[reportArgumentType]
    if set(fields) - known:
        raise InputError(
            f"{where}: {kind} has no field {', '.join(sorted(set(fields) - known))}",
            f"it has: {', '.join(sorted(known)) or 'none'}",
        )
    return chosen(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})
