"""Configs as JSON: a dataclass that is one of several says by its class's name which one it is.

    @dataclass(frozen=True, kw_only=True)
    class RankerArchitecture:                        {"heads": {"kind": "MmoeConfig", "experts": 4}, "places": 10}
        heads: HeadsConfig = SharedBottomConfig()
        places: Amount = 0

What a person wrote is checked by the type hints (config_fields.py) as it is read, so that it fails before any worker.
"""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any, TypeVar

from components.shared.config_fields import check_fields, entry, hints, kinds, takes_none
from components.shared.errors import InputError

T = TypeVar("T")
KIND = "kind"
"""Key of the class's name."""


def fields_to_json(config: Any) -> dict[str, Any]:
    """Fields of the dataclass; dataclasses among them carry their kind."""
    return {field.name: _written(getattr(config, field.name)) for field in dataclasses.fields(config)}


def variant_to_json(config: Any) -> dict[str, Any]:
    """Fields of the dataclass and the name of its class."""
    return {KIND: type(config).__name__, **fields_to_json(config)}


def json_object(text: str, where: str) -> dict[str, Any]:
    """A pipeline parameter that holds a JSON object; '' is an empty one.

    Raises:
        InputError: it is something else, or an object in it has a key twice, of which JSON would keep one.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"{where}: '{name}' is given twice", "leave one of them out")
        return dict(pairs)

    try:
        raw = json.loads(text or "{}", object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise InputError(f"{where} is not JSON: {error}", 'give an object such as {"name": 1}') from error
    if not isinstance(raw, dict):
        raise InputError(f"{where} is {raw!r}, not an object", 'give one such as {"name": 1}')
    return raw


def fields_from_json(start: T, raw: Any, where: str) -> T:
    """A config with what `fields_to_json` wrote, or a person, in it.

    Args:
        start: Whose values those are that are absent.
        raw: Fields.
        where: Name of the config, for errors.

    Raises:
        InputError: there is no such field, or it cannot have such a value.
    """
    return _read_fields(start, raw, where, "")


def variant_from_json(raw: Any, classes: Sequence[type[T]], where: str) -> T:
    """The dataclass that `variant_to_json` wrote; absent fields take their defaults.

    Args:
        raw: KIND and fields.
        classes: Which ones it may be; each has a default for every field.
        where: Name of the field, for errors.

    Raises:
        InputError: no such class, no such field, or it cannot have such a value.
    """
    names = ", ".join(one.__name__ for one in classes)
    if not isinstance(raw, dict):
        raise InputError(f"{where} is {raw!r}, not an object", f'give one with a "{KIND}" among: {names}')
    kind = raw.get(KIND, "")
    chosen = next((one for one in classes if one.__name__ == kind), None)
    if chosen is None:
        raise InputError(f"{where}: there is no kind '{kind}'", f"use one of: {names}")
    fields = {name: value for name, value in raw.items() if name != KIND}
    return _read_fields(chosen(), fields, where, f" of {kind}")


def _written(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_written, value))
    return variant_to_json(value) if dataclasses.is_dataclass(value) else value


def _read_fields(start: T, raw: Any, where: str, of: str) -> T:
    known = hints(type(start))
    mend = f"use some of: {', '.join(known)}" if known else "leave it out: there are no fields"
    if not isinstance(raw, dict):
        raise InputError(f"{where} is {raw!r}, not an object", mend)
    for name in raw:
        if name not in known:
            raise InputError(f"{where}: '{name}' is no field{of}", mend)
    found = {name: _read(value, known[name], f"{where}.{name}") for name, value in raw.items()}
    made = dataclasses.replace(start, **found)  # pyright: ignore[reportArgumentType]
    check_fields(made, where)
    return made


def _read(value: Any, hint: Any, where: str) -> Any:
    """The value that a hint asks for, where JSON has a form of its own for it; `check_fields` judges the rest."""
    if value is None and takes_none(hint):
        return None
    if classes := kinds(hint):
        return variant_from_json(value, classes, where)
    if (each := entry(hint)) is not None and isinstance(value, list):
        return tuple(_read(one, each, f"{where}[{at}]") for at, one in enumerate(value))
    return value
