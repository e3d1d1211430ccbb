"""Options: frozen pydantic models; an error names the path, the given value and the allowed values.

class MmoeConfig(Options):
    kind: Literal["mmoe"] = "mmoe"
    experts: Count = 3

ranker.architecture.heads.experts is 0
  fix: give 1 or more
"""

import difflib
import json
import math
import re
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from components.shared.errors import InputError

KIND = Field(discriminator="kind")
"""Annotation of a field that holds one of several models, distinguished by `kind`."""

Count = Annotated[int, Field(ge=1)]
"""A positive integer, such as a number of layers, heads or a width."""
Amount = Annotated[int, Field(ge=0)]
"""A non-negative integer."""
Share = Annotated[float, Field(ge=0, lt=1)]
"""From 0 to below 1."""
Fraction = Annotated[float, Field(ge=0, le=1)]
"""From 0 to 1."""
Rate = Annotated[float, Field(ge=0)]
"""A non-negative number."""
Limit = Annotated[float, Field(gt=0)]
"""A positive number."""

MAX_SECTION_BYTES = 100_000
"""Largest section as UTF-8 JSON; tables belong in files and artifacts."""

_REFUSED = "refused"
_MAX_DEPTH = 50
_INDEX = re.compile(r"\[\d+\]")


def refused(headline: str, fix: str) -> PydanticCustomError:
    """Error for validators that compare several fields.

    Args:
        headline: What is inconsistent; the path is prepended.
        fix: What to give instead.
    """
    return PydanticCustomError(_REFUSED, "{headline}", {"headline": headline, "fix": fix})


class Options(BaseModel):
    """Base of every options model: unknown keys, wrong types and values out of range are rejected."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    def model_post_init(self, _context: Any) -> None:
        """Mark `kind` as set, so that exported fields can be read again."""
        if "kind" in type(self).model_fields:
            self.__pydantic_fields_set__.add("kind")

    @classmethod
    def read(cls, raw: Mapping[str, Any], path: str) -> Self:
        """Validate JSON values.

        Args:
            raw: Field -> value; absent fields have their defaults.
            path: Prefix of paths in error messages, such as `ranker`; may be empty.

        Raises:
            InputError: names the path of the first invalid value, the given value and the allowed values.
        """
        try:
            return cls.model_validate_json(json.dumps(_json_values(dict(raw), path)))
        except ValidationError as error:
            raise _refusal(cls, raw, error.errors(), path) from None

    def replace(self, **changes: Any) -> Self:
        """A validated copy with some values replaced; unset fields stay unset.

        Raises:
            pydantic.ValidationError: a value is invalid.
        """
        kept = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self).model_validate({**kept, **changes})

    def to_json(self) -> dict[str, Any]:
        """Every field as JSON values."""
        return self.model_dump(mode="json")

    def set_fields(self) -> dict[str, Any]:
        """The fields that were set, as JSON values."""
        return self.model_dump(mode="json", exclude_unset=True)


def check_size(section: Mapping[str, Any], path: str) -> None:
    """Check that a section can be a parameter of a pipeline; Kubeflow Pipelines fails on larger ones.

    Args:
        section: JSON values.
        path: Name of the section, such as `data`.

    Raises:
        InputError: it is larger than MAX_SECTION_BYTES.
    """
    size = len(json.dumps(section, ensure_ascii=False).encode())
    if size > MAX_SECTION_BYTES:
        raise InputError(
            f"{path} is {size:,} bytes as JSON, more than the {MAX_SECTION_BYTES:,} of a pipeline's parameter",
            "give the path or URI of a file instead of its contents, where the option takes one",
        )


def merged(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`base` updated recursively with `given`; an object of another `kind` replaces the whole object."""
    result = dict(base)
    for name, value in given.items():
        before = result.get(name)
        result[name] = value
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            kind = before.get("kind")
            if value.get("kind", kind) == kind:
                result[name] = merged(before, value)
    return result


def _json_values(value: Any, path: str, depth: int = 0) -> Any:
    """JSON values with integral floats as ints: KFP turns 2 into 2.0, and float fields accept 2 as well."""
    if depth > _MAX_DEPTH:
        raise InputError(f"{path[:40]}... is nested too deeply", "remove the alias (*name) of its own parent")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{path} is {value}", "give a finite number")
    if isinstance(value, Mapping):
        prefix = f"{path}." if path else ""
        return {str(name): _json_values(one, f"{prefix}{name}", depth + 1) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_json_values(one, f"{path}[{at}]", depth + 1) for at, one in enumerate(value)]
    if value is not None and not isinstance(value, bool | int | float | str):
        raise InputError(f"{path} is {value!r}", "give a string, a number, true, false, null, a list or an object")
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _refusal(model: type[Options], raw: Mapping[str, Any], errors: Sequence[ErrorDetails], path: str) -> InputError:
    """Convert the first of pydantic's errors."""
    first = errors[0]
    names, inside = _place(model, raw, first["loc"])
    where = path
    for name in names:
        where += name if _INDEX.fullmatch(name) or not where else f".{name}"
    where = where or "options"
    context = first.get("ctx", {})
    if first["type"] == _REFUSED:
        return InputError(f"{where}: {context['headline']}", context["fix"])
    shown = _shown(first["input"])
    match first["type"]:
        case "extra_forbidden":
            known = [field.alias or name for name, field in inside.model_fields.items()] if inside else []
            near = difflib.get_close_matches(names[-1], known, 1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            return InputError(f"{where} is not an option", f"{hint}use one of: {', '.join(known) or '(none)'}")
        case "missing":
            return InputError(f"{where} is missing", "add it")
        case "union_tag_invalid" | "union_tag_not_found":
            kinds = context.get("expected_tags") or ", ".join(_kinds(inside, names[-1] if names else ""))
            given = f"kind is '{context['tag']}'" if "tag" in context else f"{shown} has no kind"
            return InputError(f"{where}: {given}", f"use one of: {kinds.replace(chr(39), '')}")
        case "literal_error":
            return InputError(
                f"{where} is {shown}",
                f"use one of: {context['expected'].replace(chr(39), '').replace(' or ', ', ')}",
            )
    return InputError(f"{where} is {shown}", f"give {_wanted(first)}")


def _place(model: type[Options], raw: Any, location: tuple[int | str, ...]) -> tuple[list[str], type[Options] | None]:
    """Path of a value without pydantic's union tags, and the model that has the field."""
    names: list[str] = []
    value: Any = raw
    models, inside = [model], None
    for part in location:
        if isinstance(value, Mapping) and part == value.get("kind") and part not in value:
            continue  # the tag of a discriminated union
        if isinstance(value, list) and isinstance(part, int):
            names.append(f"[{part}]")
            value = value[part] if part < len(value) else None
            continue
        names.append(str(part))
        inside = _narrowed(models, value)
        field = inside.model_fields.get(str(part)) if inside else None
        models = _options_in(field.annotation) if field else []
        value = value.get(part) if isinstance(value, Mapping) else None
    return names, inside


def _options_in(annotation: Any) -> list[type[Options]]:
    """All options models in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, Options):
        return [annotation]
    if get_origin(annotation) in (Union, UnionType, Annotated, tuple, list, Sequence):
        return [found for part in get_args(annotation) for found in _options_in(part)]
    return []


def _narrowed(models: Sequence[type[Options]], value: Any) -> type[Options] | None:
    """Select the model with the value's kind."""
    kind = value.get("kind") if isinstance(value, Mapping) else None
    named = [one for one in models if "kind" in one.model_fields and one.model_fields["kind"].default == kind]
    return (named or list(models) or [None])[0]


def _kinds(inside: type[Options] | None, name: str) -> list[str]:
    field = inside.model_fields.get(name) if inside else None
    found = _options_in(field.annotation) if field else []
    return [one.model_fields["kind"].default for one in found if "kind" in one.model_fields]


def _wanted(error: ErrorDetails) -> str:
    """Description of the allowed values."""
    limits = {"greater_than_equal": ("ge", "{} or more"), "greater_than": ("gt", "a number above {}"),
              "less_than_equal": ("le", "at most {}"), "less_than": ("lt", "a number below {}")}  # fmt: skip
    if error["type"] in limits:
        name, text = limits[error["type"]]
        return text.format(error.get("ctx", {})[name])
    text = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    context = error.get("ctx", {})
    if error["type"] == "string_pattern_mismatch":
        return f"a string that matches {context['pattern']}"
    if error["type"] in ("too_short", "too_long"):
        least, most = context.get("min_length"), context.get("max_length")
        return f"a list of {least} or more values" if most is None else f"a list of at most {most} values"
    if error["type"] == "string_too_short":
        return "a text that is not empty"
    plain = {"a valid integer": "a whole number", "a valid number": "a number", "a valid string": "a string",
             "a valid boolean": "true or false", "a valid array": "a list", "an object": "an object"}  # fmt: skip
    return plain.get(text, text)


def _shown(value: Any) -> str:
    text = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
