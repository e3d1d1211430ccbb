"""Options of the search over a catalog, without what runs it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

from components.shared.errors import InputError
from components.shared.options import Fraction, Options, refused
from components.shared.text.languages import ENGLISH, Language

_ONE_WAY, _EITHER = "=>", ","
_COMMENT = "#"


@dataclass(frozen=True)
class SynonymRule:
    """Texts that stand for others.

    Attributes:
        line: The rule as it is written.
        sources: Texts of queries that are expanded.
        targets: What each of them, unless it is that itself, also finds.
    """

    line: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]


def parse_synonyms(lines: Sequence[str]) -> list[SynonymRule]:
    """Read rules; blank lines and what follows a # are left out.

    >>> [(rule.sources, rule.targets) for rule in parse_synonyms(["tp => toilet paper", "sofa, couch"])]
    [(('tp',), ('toilet paper',)), (('sofa', 'couch'), ('sofa', 'couch'))]

    Args:
        lines: 'sofa, couch' for texts that each find the other, 'tp => toilet paper' for one way.

    Raises:
        InputError: a rule has a side without text, or fewer than two texts; the message names its line.
    """
    rules = []
    for number, line in enumerate(lines, 1):
        text = line.partition(_COMMENT)[0].strip()
        if not text:
            continue
        sides = [tuple(filter(None, map(str.strip, side.split(_EITHER)))) for side in text.split(_ONE_WAY)]
        if len(sides) > 2 or not all(sides) or (len(sides) == 1 and len(sides[0]) < 2):
            raise InputError(f"line {number} of the synonyms is '{line.strip()}', which is no rule",
                             "write 'tp => toilet paper' for one way, or 'sofa, couch' for both")  # fmt: skip
        rules.append(SynonymRule(text, sides[0], sides[-1]))
    return rules


def _rules(lines: tuple[str, ...]) -> tuple[str, ...]:
    try:
        parse_synonyms(lines)
    except InputError as error:
        raise refused(error.headline, error.fix) from error
    return lines


class SearchOptions(Options):
    """Options of the search."""

    language: Language = ENGLISH
    """Language of titles and queries in Latin letters."""
    stemming: bool = True
    """Whether another form of a word finds it, such as 'shoes' items with 'shoe'; false: words as they are written."""
    synonyms: Annotated[tuple[str, ...], AfterValidator(_rules)] = ()
    """Rules, one each: 'tp => toilet paper' (a query of the first also finds the second) or 'sofa, couch' (each finds
    the other). `shoprank synonyms` shows beforehand what they change."""
    encoder: str = ""
    """Folder or URI of a text encoder that encode_text wrote: items are also found and ranked by what they mean. Empty:
    by words alone."""
    least_meaning: Fraction = 0.4
    """Least similarity of meaning of an item that has none of a query's words: 0 is that of any item, 1 that of the
    query's own text (the cosine of their vectors, less the query's mean over the catalog)."""
    relevance: str = ""
    """File or URI of a relevance model that train_relevance wrote. Empty: with an encoder the shipped one, without
    one the score of the words ranks."""
