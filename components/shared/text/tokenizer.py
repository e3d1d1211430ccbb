"""Tokenizer for titles and queries of the models, shared by training and serving.

Latin words and numbers are folded (case, accents) and lightly stemmed. Text without spaces needs no dictionary: runs of
Chinese, Japanese or Korean characters become single characters and overlapping pairs, and runs of Thai, Lao, Khmer or
Burmese single clusters (a letter with its vowels and marks) and overlapping pairs of them. What is beside such a run is
a word of its own: 'iphone15' in 'iphone15ใส'. Elsewhere a word keeps its vowel signs.
"""

import re

from components.shared.text.scripts import (
    ALONE,
    CJK_RUN,
    MARK,
    MAX_TEXT_LENGTH,
    UNSPACED_RUN,
    clusters,
    fold,
    is_cjk,
    is_unspaced,
    pairs,
)

__all__ = ["MAX_TEXT_LENGTH", "tokenize"]

_PIECES = re.compile(rf"{CJK_RUN}|{UNSPACED_RUN}|(?!{ALONE})[^\W_](?:(?!{ALONE})(?:[^\W_]|[{MARK}]))*")
_WORDS = re.compile(r"[^\W_]+")


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
    folded = fold(text)
    if folded.isascii():
        return [_stem(piece) for piece in _WORDS.findall(folded)]
    tokens: list[str] = []
    for piece in _PIECES.findall(folded):
        if is_cjk(piece):
            tokens += [*piece, *pairs(piece)]
        elif is_unspaced(piece):
            letters = clusters(piece)
            tokens += [*letters, *pairs(letters)]
        else:
            tokens.append(_stem(piece))
    return tokens
