"""Reads files of rules; an error names the file, the line, the path of the field and the rule."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from components.shared.errors import InputError
from components.shared.recommender.rules.config import Merchandising
from components.shared.yaml_text import read_yaml

_PATH = re.compile(r"[\w.\[\]]*")
_STEP = re.compile(r"\w+")
_MAX_BYTES = 5_000_000


def read_rules(path: Path) -> Merchandising:
    """Read a YAML or JSON file of rules.

    Raises:
        InputError: it cannot be read, is neither YAML nor JSON, or a field is invalid.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise InputError(f"the rules {path} cannot be read: {error.strerror}", "give a YAML or JSON file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"the rules {path} are not UTF-8", "save the file in UTF-8") from error
    return parse_rules(text, path.name)


def parse_rules(text: str, name: str) -> Merchandising:
    """Read rules from a text.

    >>> parse_rules("rules: [{name: sale, when: {kind: any_query}, actions: [{kind: redirect, too: /sale}]}]", "a.yaml")
    Traceback (most recent call last):
    ...
    components.shared.errors.InputError: a.yaml, line 1, rule 'sale': rules[0].actions[0].too is not an option
      fix: did you mean 'to'? use one of: kind, to

    Args:
        text: YAML or JSON.
        name: Name of the file, for errors.

    Raises:
        InputError: see `read_rules`.
    """
    if len(text) > _MAX_BYTES:
        raise InputError(f"{name} has more than {_MAX_BYTES:,} characters", "write fewer rules")
    try:
        found = read_yaml(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{name} is neither YAML nor JSON: {' '.join(str(error).split())}",
                         "correct it; `shoprank rules --schema` prints the schema for editors") from error  # fmt: skip
    if not isinstance(found, Mapping) or not found.keys() & Merchandising.model_fields:
        raise InputError(f"{name} has no rules", "write `rules:` and below it a list of rules, or `fences:`")
    try:
        return Merchandising.read(found, "")
    except InputError as error:
        matched = _PATH.match(error.headline)
        steps = _STEP.findall(matched[0] if matched else "")
        raise InputError(
            f"{name}{_place(found, yaml.compose(text, yaml.SafeLoader), steps)}: {error.headline}", error.fix
        ) from None


def _place(found: Any, node: yaml.Node | None, steps: list[str]) -> str:
    """Line of a field, and the name of its rule."""
    line = None if node is None else node.start_mark.line
    for step in steps:
        if isinstance(node, yaml.MappingNode):
            inside = next(((key, value) for key, value in node.value if key.value == step), None)
            if inside is None:
                break
            line, node = inside[0].start_mark.line, inside[1]
        elif isinstance(node, yaml.SequenceNode) and step.isdigit() and int(step) < len(node.value):
            item = node.value[int(step)]
            line, node = item.start_mark.line, item
        else:
            break
    named = ""
    if steps[:1] == ["rules"] and len(steps) > 1 and isinstance(found["rules"], list):
        rule = found["rules"][int(steps[1])]
        if isinstance(rule, Mapping) and isinstance(rule.get("name"), str):
            named = f", rule '{rule['name'][:60]}'"
    return f", line {line + 1}{named}" if line is not None else named
