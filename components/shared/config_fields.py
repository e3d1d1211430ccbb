"""What the fields of a config may hold, read off their type hints, so that a wrong value never reaches a worker.

hidden_dim: Count = 128                    a whole number from 1
dilations: tuple[Count, ...] = (1, 2, 4)   a list of at least one
heads: HeadsConfig = MmoeConfig()          one of several dataclasses, whose own fields are checked alike
"""

import dataclasses
import functools
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from components.shared.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers from `low` to below `below`."""

    low: float
    """Smallest."""
    below: float = math.inf
    """The first that is too large."""


Count = Annotated[int, Range(low=1)]
"""How many of something that there must be: layers, heads, widths."""
Amount = Annotated[int, Range(low=0)]
"""How many of something that there may be."""
Share = Annotated[float, Range(low=0, below=1)]
"""Of what is left out; not all of it."""
Rate = Annotated[float, Range(low=0)]
"""A number that has no sign."""


@functools.cache
def hints(config: type[Any]) -> dict[str, Any]:
    """Type hints of a dataclass's fields, with the ranges that are noted in them."""
    return get_type_hints(config, include_extras=True)


def kinds(hint: Any) -> tuple[type[Any], ...]:
    """The dataclasses that a hint names; none for any other hint."""
    return tuple(one for one in _options(hint) if dataclasses.is_dataclass(one) and isinstance(one, type))


def takes_none(hint: Any) -> bool:
    """Whether a hint allows None."""
    return NoneType in _options(hint)


def entry(hint: Any) -> Any | None:
    """Hint of the entries of a list; None for what is no list."""
    return get_args(hint)[0] if get_origin(hint) in (tuple, Sequence) else None


def check_fields(config: Any, where: str) -> None:
    """Refuse a dataclass with a value that its field's hint does not allow, in it or in a dataclass inside of it.

    Args:
        config: The dataclass.
        where: Its name, for errors.

    Raises:
        InputError: there is such a value.
    """
    for name, hint in hints(type(config)).items():
        _check(getattr(config, name), hint, where, name)


def _check(value: Any, hint: Any, where: str, name: str) -> None:
    found = entry(hint)
    if found is not None and isinstance(value, list | tuple) and value:
        for at, one in enumerate(value):
            _check(one, found, where, f"{name}[{at}]")
    elif not _fits(value, hint):
        shown = list(value) if isinstance(value, tuple) else value
        raise InputError(f"{where}: {name} is {shown!r}", f"give {_allowed(hint)}")
    elif type(value) in kinds(hint):
        check_fields(value, f"{where}.{name}")


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _parts(hint: Any) -> tuple[Any, Range | None]:
    """A hint without its range, and that."""
    if get_origin(hint) is not Annotated:
        return hint, None
    base, *notes = get_args(hint)
    return base, next((note for note in notes if isinstance(note, Range)), None)


def _fits(value: Any, hint: Any) -> bool:
    base, limits = _parts(hint)
    if get_origin(base) is Literal:
        return value in get_args(base)
    if base in (int, float):
        # bool is an int to Python.
        if not isinstance(value, int if base is int else int | float) or isinstance(value, bool):
            return False
        # A comparison, unlike math.isfinite, takes a whole number of any size, which JSON may hold; nan fits none.
        finite = base is int or abs(value) <= sys.float_info.max
        return finite and (limits is None or limits.low <= value < limits.below)
    if base in (bool, str):
        return isinstance(value, base)
    return type(value) in kinds(base) or (value is None and takes_none(base))


def _allowed(hint: Any) -> str:
    base, limits = _parts(hint)
    found = entry(base)
    if found is not None:
        return f"a list of at least one, each {_allowed(found)}"
    if get_origin(base) is Literal:
        return f"one of: {', '.join(get_args(base))}"
    if base in (bool, str):
        return "true or false" if base is bool else "a text"
    if base in (int, float):
        return ("a whole number" if base is int else "a number") + _range(limits)
    names = ", ".join(kind.__name__ for kind in kinds(base))
    return f"an object of a kind among: {names}" + (", or null" if takes_none(base) else "")


def _range(limits: Range | None) -> str:
    if limits is None:
        return ""
    return f" from {limits.low:g}" + (f" and below {limits.below:g}" if math.isfinite(limits.below) else "")
