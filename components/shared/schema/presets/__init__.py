"""Column mappings of public forms of data, a JSON file each."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.shared.schema.paths import outermost
from components.shared.schema.tables import EVENT_TYPES

_FOLDER = Path(__file__).parent

PRESETS = tuple(sorted(file.stem for file in _FOLDER.glob("*.json")))
"""Names."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What is needed to read a public form of data.

    Attributes:
        about: the data. columns: of CSV files without a header. mapping: see `mapping.parse_mapping`.
    """

    about: str = ""
    columns: tuple[str, ...] = ()
    mapping: Mapping[str, Any] = field(default_factory=dict)


def preset(name: str) -> Preset:
    """The preset of a name in PRESETS."""
    found = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return Preset(**{**found, "columns": tuple(found.get("columns", ()))})


def matching(columns: Mapping[str, Sequence[Any]]) -> str:
    """The preset whose form a source has, '' if there is none.

    Args:
        columns: Columns and paths of the source, each with some of its values; of a CSV file without a header the
            values of its first line are the columns.
    """
    return next((name for name in PRESETS if _fits(preset(name), columns)), "")


def _fits(one: Preset, columns: Mapping[str, Sequence[Any]]) -> bool:
    if one.columns:
        types = {*EVENT_TYPES, *one.mapping["event_types"]}
        return len(columns) == len(one.columns) and list(columns)[one.columns.index("event_type")] in types
    return all(_has(name, columns) for name in one.mapping.values() if isinstance(name, str))


def _has(path: str, columns: Mapping[str, Sequence[Any]]) -> bool:
    """Whether a source has a path, or may have it: its list was empty in the rows that were looked at."""
    outer = outermost(path)
    if path in columns or ("=" in path and outer in columns):
        return True
    return outer != path and outer in columns and not any(columns[outer])


def over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping over another one, whose event types and constants stay where it has no others.

    >>> over({"user_id": "a", "event_types": {"pv": "view"}}, {"user_id": "b", "event_types": {"buy": "purchase"}})
    {'user_id': 'b', 'event_types': {'pv': 'view', 'buy': 'purchase'}}
    """
    sections = {name: {**below.get(name, {}), **above[name]} for name in ("event_types", "constants")
                if isinstance(above.get(name), dict)}  # fmt: skip
    return {**below, **above, **sections}
