"""Search spaces: typed ranges of a configuration's fields.

A space is declared beside the configuration it belongs to (components/train_*/space.py).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, TypeVar

from components.shared.errors import InputError
from components.shared.options import Options

Value = bool | int | float | str
"""Value of a hyperparameter."""

Config = TypeVar("Config", bound=Options)


@dataclass(frozen=True, kw_only=True)
class Float:
    """Real numbers from `low` to `high`, both included."""

    low: float
    """Smallest value."""
    high: float
    """Largest value."""
    log: bool = False
    """Whether to search on a logarithmic scale, as for learning rates."""

    def invalid_reason(self, value: Any) -> str:
        """Return a description of the allowed values if the value is invalid, else an empty string."""
        fits = isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high
        return "" if fits else f"a number from {self.low:g} to {self.high:g}"


@dataclass(frozen=True, kw_only=True)
class Int:
    """Whole numbers from `low` to `high`, both included."""

    low: int
    """Smallest value."""
    high: int
    """Largest value."""
    log: bool = False
    """Whether to search on a logarithmic scale."""

    def invalid_reason(self, value: Any) -> str:
        """Return a description of the allowed values if the value is invalid, else an empty string."""
        fits = isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high
        return "" if fits else f"a whole number from {self.low} to {self.high}"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of a few values of one type."""

    options: tuple[Value, ...]
    """Values to try."""

    def invalid_reason(self, value: Any) -> str:
        """Return a description of the allowed values if the value is invalid, else an empty string.

        Numbers need not be among the options, only positive: options depend on the size, and results of one size may
        be used at another.
        """
        kind = type(self.options[0])
        if kind in (int, float):
            fits = type(value) is kind and math.isfinite(value) and value > 0
            return "" if fits else f"a positive {kind.__name__}"
        return "" if type(value) is kind and value in self.options else f"one of {', '.join(map(str, self.options))}"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One of several options classes, or none; its value is the `kind` of the class."""

    kinds: tuple[type[Any], ...]
    """The classes, NoneType for none; a chosen class has its defaults, unless the current options are of that kind."""

    @property
    def options(self) -> tuple[Value, ...]:
        """Kinds of the classes."""
        return tuple(map(_kind_name, self.kinds))

    def invalid_reason(self, value: Any) -> str:
        """Return a description of the allowed values if the value is invalid, else an empty string."""
        return "" if value in self.options else f"one of {', '.join(map(str, self.options))}"

    def made(self, name: Value, current: Any) -> Any:
        """Return the options of kind `name`: `current` if it has that kind, else the defaults."""
        kind = self.kinds[self.options.index(name)]
        return current if type(current) is kind else kind()


Range = Float | Int | Choice | Variant


@dataclass(frozen=True)
class SearchSpace:
    """Ranges of a configuration's fields.

    Attributes:
        ranges: field -> values to try; dots separate the fields of nested configurations (`optimizer.dense_lr`). A
            field of a Variant (`encoder.layers`) comes after it, and is tuned for those kinds that have the field.
    """

    ranges: Mapping[str, Range]

    def applies(self, name: str, values: Mapping[str, Any]) -> bool:
        """Return whether a configuration with these values has the field.

        Args:
            name: Name of a range.
            values: Values of the ranges before it.
        """
        parent, _, field = name.rpartition(".")
        above = self.ranges.get(parent)
        return not isinstance(above, Variant) or _has(above.kinds[above.options.index(values[parent])], field)

    def values(self, config: Any) -> dict[str, Value]:
        """Return a configuration's values of the space's fields; omits fields that it does not have."""
        found: dict[str, Value] = {}
        for name, one in self.ranges.items():
            if self.applies(name, found):
                value = _read(config, name)
                found[name] = _kind_name(type(value)) if isinstance(one, Variant) else value
        return found

    def apply(self, config: Config, values: Mapping[str, Any]) -> Config:
        """Return the configuration with these values; other fields are unchanged.

        Raises:
            InputError: a name is not in the space, its value is invalid, or the configuration that it belongs to is of
                a kind without this field.
        """
        for name, value in values.items():
            if name not in self.ranges:
                raise InputError(f"hyperparameter '{name}' is not tuned", f"use some of: {', '.join(self.ranges)}")
            if wanted := self.ranges[name].invalid_reason(value):
                raise InputError(f"hyperparameter '{name}' is {value!r}", f"give {wanted}")
        # The kind of a nested configuration is set before its fields.
        for name in sorted(values, key=lambda name: name.count(".")):
            found, value = self.ranges[name], values[name]
            self._check_part(config, name)
            made = found.made(value, _read(config, name)) if isinstance(found, Variant) else value
            config = _replaced(config, name.split("."), made)
        return config

    def _check_part(self, config: Any, name: str) -> None:
        parent, _, field = name.rpartition(".")
        above = self.ranges.get(parent)
        if isinstance(above, Variant) and not _has(kind := type(_read(config, parent)), field):
            fitting = ", ".join(_kind_name(one) for one in above.kinds if _has(one, field))
            raise InputError(f"hyperparameter '{name}' does not apply: '{parent}' is '{_kind_name(kind)}'",
                             f"remove it, or choose one of: {fitting}")  # fmt: skip


def _has(kind: type[Any], field: str) -> bool:
    return issubclass(kind, Options) and field in kind.model_fields


def _kind_name(kind: type[Any]) -> str:
    if kind is NoneType:
        return "none"
    named = kind.model_fields.get("kind")
    return named.default if named else kind.__name__


def _read(config: Any, name: str) -> Any:
    for part in name.split("."):
        config = getattr(config, part)
    return config


def _replaced(config: Any, path: list[str], value: Any) -> Any:
    head, *rest = path
    return config.replace(**{head: _replaced(getattr(config, head), rest, value) if rest else value})
