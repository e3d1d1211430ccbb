"""Statements that something is free of an ingredient: 'sugar-free', 'no sugar', 'sugarless', 无糖."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import rjieba

_LATIN = re.compile(
    r"(?<!\w)(?:(?P<before>[^\W\d_]+)[ -]free|(?:no|without|zero)[ -](?P<after>[^\W\d_]+)"
    r"|(?P<adjective>non[ -](?P<non>[^\W\d_]+)|(?P<less>[^\W\d_]{3,})less))(?![\w'’])"
)
_HAN = re.compile(r"(?P<no>不含|[无零免]|(?<![\w.,])0(?=[糖脂卡蔗添]))(?=(?P<rest>[\u3400-\u9fff]+))")


@dataclass(frozen=True)
class FreeOf:
    """A statement in a text.

    Attributes:
        word: What the text says that it is free of.
        start, end: Where the statement is in the text.
        adjective: Whether it may be an adjective of its own: 'wireless', 'non-stick'.
    """

    word: str
    start: int
    end: int
    adjective: bool = False


def free_of(folded: str) -> Iterator[FreeOf]:
    """Find the statements in a folded text.

    >>> [(one.word, one.start, one.end) for one in free_of("gum without sugar")]
    [('sugar', 4, 17)]
    """
    for found in _LATIN.finditer(folded):
        word = found["before"] or found["after"] or found["non"] or found["less"]
        yield FreeOf(word, *found.span(), bool(found["adjective"]))
    for found in _HAN.finditer(folded):
        # 无线 and 零食 are words of the dictionary, which say nothing of an ingredient; 无糖 is none.
        if rjieba.cut(found["no"] + found["rest"], hmm=False)[0] in ("不", found["no"]):
            word = rjieba.cut(found["rest"])[0]
            yield FreeOf(word, found.start(), found.end() + len(word))
