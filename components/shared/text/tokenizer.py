"""Tokenizer for titles and queries in English and Chinese, shared by training and serving.

Latin words and numbers are folded (case, accents) and lightly stemmed; runs of Chinese, Japanese or Korean
characters become single characters and overlapping pairs, so text without spaces is searchable without a dictionary.
"""

import re
import unicodedata

MAX_TEXT_LENGTH = 2_000
"""Maximum number of characters read per text; the rest would cost time without changing rankings."""

_CJK = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3040-\u30ff\uac00-\ud7af"
_PIECES = re.compile(rf"[{_CJK}]+|(?:(?![{_CJK}])[^\W_])+")
_WORDS = re.compile(r"[^\W_]+")
_IS_CJK = re.compile(rf"[{_CJK}]")


def _stem(word: str) -> str:
    """Strip an English plural, so that 'yogurts' and 'berries' match 'yogurt' and 'berry'."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return word


def tokenize(text: str) -> list[str]:
    """Tokens of `text` in order; an empty or symbol-only text (emoji) has none.

    >>> tokenize("Fresh BLUEBERRIES 2% 燕麦奶")
    ['fresh', 'blueberry', '2', '燕', '麦', '奶', '燕麦', '麦奶']
    """
    folded = text[:MAX_TEXT_LENGTH].casefold()
    if folded.isascii():
        return [_stem(piece) for piece in _WORDS.findall(folded)]
    folded = unicodedata.normalize("NFKD", text[:MAX_TEXT_LENGTH]).casefold()
    folded = unicodedata.normalize("NFC", "".join(c for c in folded if not unicodedata.combining(c)))
    tokens: list[str] = []
    for piece in _PIECES.findall(folded):
        if _IS_CJK.match(piece):
            tokens.extend(piece)
            tokens.extend(piece[i : i + 2] for i in range(len(piece) - 1))
        else:
            tokens.append(_stem(piece))
    return tokens
