"""Writing systems: folds a text and cuts it into runs of one kind of writing.

Accents, points and joiners that most people do not type are removed; the vowel signs of the scripts of South and
Southeast Asia stay in their word.
"""

import re
import unicodedata
from collections.abc import Iterator
from enum import Enum, auto
from itertools import chain, groupby, pairwise

MAX_TEXT_LENGTH = 2_000
"""Maximum number of characters read per text; the rest would cost time without changing rankings."""

_CJK = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3040-\u30ff\uac00-\ud7af"
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff\ua9e0-\ua9ff\uaa60-\uaa7f"
_BEFORE, _AFTER = r"\u0e40-\u0e44\u0ec0-\u0ec4", r"\u0e30\u0e32\u0e45\u0eb0\u0eb2"
"""Vowels of Thai and Lao that are letters of their own, before or after the one that they belong to."""
_REMOVED = re.compile("[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670\u200c\u200d]")
"""Accents, points of Hebrew and Arabic, and joiners, which most people do not type."""


def _marks() -> str:
    """Vowel signs and other marks of the scripts of South and Southeast Asia, as ranges of a character class."""
    points = [c for c in chain(range(0x900, 0x1CD0), range(0xA800, 0xAC00)) if unicodedata.category(chr(c))[0] == "M"]
    runs = [[c for _, c in run] for _, run in groupby(enumerate(points), lambda pair: pair[1] - pair[0])]
    return "".join(f"{chr(run[0])}-{chr(run[-1])}" for run in runs)


MARK = _marks()
ALONE = rf"[{_CJK}{_UNSPACED}]"
"""A letter of a script without spaces."""
CJK_RUN = rf"[{_CJK}]+"
UNSPACED_RUN = rf"(?=[{_UNSPACED}])[^\W_](?:(?=[{_UNSPACED}])(?:[^\W_]|[{MARK}]))*"
_RUNS = re.compile(rf"(?P<cjk>{CJK_RUN})|(?P<unspaced>{UNSPACED_RUN})|(?P<spaced>(?:(?!{ALONE}).)+)", re.DOTALL)
_IS_CJK = re.compile(rf"[{_CJK}]")
_IS_UNSPACED = re.compile(rf"[{_UNSPACED}]")
_IS_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
_CLUSTERS = re.compile(rf"[{_BEFORE}]?[^{MARK}{_BEFORE}][{MARK}{_AFTER}]*|[{_BEFORE}][{MARK}]*")


class Script(Enum):
    """Kinds of writing that are cut into words in different ways."""

    HAN = auto()
    """Chinese characters alone."""
    KANA_OR_HANGUL = auto()
    """Japanese or Korean, with or without Chinese characters."""
    UNSPACED = auto()
    """Thai, Lao, Khmer, Burmese."""
    SPACED = auto()
    """Everything else, symbols and blanks included."""


def fold(text: str) -> str:
    """Fold case, width and accents of the first MAX_TEXT_LENGTH characters.

    >>> fold("Crème BRÛLÉE １２")
    'creme brulee 12'
    """
    folded = text[:MAX_TEXT_LENGTH].casefold()
    if folded.isascii():
        return folded
    folded = unicodedata.normalize("NFKD", text[:MAX_TEXT_LENGTH]).casefold()
    return unicodedata.normalize("NFC", _REMOVED.sub("", folded))


def runs(folded: str) -> Iterator[tuple[Script, str]]:
    """Cut a folded text into runs of one kind of writing, in order."""
    if folded.isascii():
        yield Script.SPACED, folded
        return
    for found in _RUNS.finditer(folded):
        run = found.group()
        if found.lastgroup == "cjk":
            yield (Script.HAN if _IS_HAN.fullmatch(run) else Script.KANA_OR_HANGUL), run
        else:
            yield (Script.UNSPACED if found.lastgroup == "unspaced" else Script.SPACED), run


def is_cjk(text: str) -> bool:
    """Whether a text begins with a Chinese, Japanese or Korean character."""
    return bool(_IS_CJK.match(text))


def is_unspaced(text: str) -> bool:
    """Whether a text begins with a letter of Thai, Lao, Khmer or Burmese."""
    return bool(_IS_UNSPACED.match(text))


def clusters(run: str) -> list[str]:
    """Cut a run of Thai, Lao, Khmer or Burmese into letters with their vowels and marks."""
    return _CLUSTERS.findall(run)


def pairs(parts: str | list[str]) -> list[str]:
    """Overlapping pairs of characters or clusters."""
    return ["".join(pair) for pair in pairwise(parts)]
