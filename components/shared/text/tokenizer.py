"""Tokenizer for titles and queries, shared by training and serving.

Latin words and numbers are folded (case, accents) and lightly stemmed. Text without spaces is searchable without a
dictionary: runs of Chinese, Japanese or Korean characters become single characters and overlapping pairs, and runs of
Thai, Lao, Khmer or Burmese single clusters (a letter with its vowels and marks) and overlapping pairs of them. What is
beside such a run is a word of its own: 'iphone15' in 'iphone15ใส'. Elsewhere a word keeps its vowel signs.
"""

import re
import unicodedata
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


_MARK = _marks()
_ALONE = rf"[{_CJK}{_UNSPACED}]"
_PIECES = re.compile(
    rf"[{_CJK}]+|(?=[{_UNSPACED}])[^\W_](?:(?=[{_UNSPACED}])(?:[^\W_]|[{_MARK}]))*"
    rf"|(?!{_ALONE})[^\W_](?:(?!{_ALONE})(?:[^\W_]|[{_MARK}]))*"
)
_WORDS = re.compile(r"[^\W_]+")
_IS_CJK = re.compile(rf"[{_CJK}]")
_IS_UNSPACED = re.compile(rf"[{_UNSPACED}]")
_CLUSTERS = re.compile(rf"[{_BEFORE}]?[^{_MARK}{_BEFORE}][{_MARK}{_AFTER}]*|[{_BEFORE}][{_MARK}]*")


def _stem(word: str) -> str:
    """Strip an English plural, so that 'dresses', 'boxes' and 'berries' match 'dress', 'box' and 'berry'.

    Singular words that end like such plurals without their s lose the same letters: 'shoe', 'cookie', 'brioche'.
    """
    for ending, least, kept in _PLURALS:
        if len(word) > least and word.endswith(ending):
            return word[: len(word) - len(ending)] + kept
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return word


_PLURALS = (
    ("ies", 4, "y"), ("ie", 3, "y"), ("oes", 4, "o"), ("oe", 3, "o"), ("sses", 4, "ss"), ("xes", 4, "x"),
    ("ches", 5, "ch"), ("che", 4, "ch"), ("shes", 5, "sh"),
)  # fmt: skip
"""(ending, characters that the word must exceed, what is written instead)."""


def tokenize(text: str) -> list[str]:
    """Tokens of `text` in order; an empty or symbol-only text (emoji) has none.

    >>> tokenize("Fresh BLUEBERRIES 2% 燕麦奶")
    ['fresh', 'blueberry', '2', '燕', '麦', '奶', '燕麦', '麦奶']
    """
    folded = text[:MAX_TEXT_LENGTH].casefold()
    if folded.isascii():
        return [_stem(piece) for piece in _WORDS.findall(folded)]
    folded = unicodedata.normalize("NFKD", text[:MAX_TEXT_LENGTH]).casefold()
    folded = unicodedata.normalize("NFC", _REMOVED.sub("", folded))
    tokens: list[str] = []
    for piece in _PIECES.findall(folded):
        if _IS_CJK.match(piece):
            tokens.extend(piece)
            tokens.extend(piece[i : i + 2] for i in range(len(piece) - 1))
        elif _IS_UNSPACED.match(piece):
            clusters = _CLUSTERS.findall(piece)
            tokens.extend(clusters)
            tokens.extend(map("".join, pairwise(clusters)))
        else:
            tokens.append(_stem(piece))
    return tokens
