"""Paths to values within a column of a source: `product.id`, `items[].item_id`, `params[key=term].value`."""

import re
from dataclasses import dataclass

_STEP = re.compile(r"([^.\[\]]+)(?:\[(?:([^=\]]+)=([^\]]*))?\])?")


@dataclass(frozen=True)
class Step:
    """A field of an object.

    Attributes:
        name: of the field. each: whether it is a list with a row for each element. key, value: if given, the field is
            a list of objects, and the one whose `key` has the value is meant.
    """

    name: str
    each: bool = False
    key: str = ""
    value: str = ""


def parse_path(text: str) -> tuple[Step, ...]:
    """The steps of a path; text that is none, such as `Price [EUR] (net)`, is the name of one column.

    >>> parse_path("items[].item_id")
    (Step(name='items', each=True, key='', value=''), Step(name='item_id', each=False, key='', value=''))
    >>> parse_path("params[key=term].value")[0]
    Step(name='params', each=False, key='key', value='term')
    """
    steps: list[Step] = []
    at = 0
    while found := _STEP.match(text, at):
        name, key, value = found.groups()
        steps.append(Step(name, found[0].endswith("[]"), key or "", value or ""))
        at = found.end()
        if at == len(text):
            return tuple(steps)
        if text[at] != ".":
            break
        at += 1
    return (Step(text),)


def outermost(text: str) -> str:
    """The column of a path."""
    return parse_path(text)[0].name
