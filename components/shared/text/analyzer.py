"""Analyzer of titles, other texts of items, and queries: one object for the search index and what is asked of it.

A text becomes index terms; a query becomes words, each with the terms that stand for it: '500 ml' is found as '0.5 l',
'usb-c' as 'USB C', 'iphone15' as 'iPhone 15', 手机壳 as 手机 beside 壳.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import rjieba
import Stemmer

from components.shared.text.free_of import free_of
from components.shared.text.languages import ENGLISH, Language
from components.shared.text.scripts import MARK, MAX_TEXT_LENGTH, Script, clusters, fold, pairs, runs
from components.shared.text.units import memory_size, quantities

ANALYZER_VERSION = 2
"""Of the terms; an index is only read by the version that wrote it."""
_STOP_WORDS = frozenset(
    "a an and are as at be by for from in into is it of on or that the this to with without your my our".split()
) | frozenset("的 了 和 与 及 在 是".split())
_STOP_WEIGHT = 0.1
_WHOLE, _PAIRS, _CHARACTERS, _NUMBER_AND_UNIT, _LETTERS_AND_DIGITS, _MEMORY = 1.0, 0.8, 0.5, 0.5, 0.5, 0.8
"""Weights of a term that is the word itself, of its pairs of characters, of its characters, of number and unit, of
letters and digits that are one word in the query, and of '128g' read as memory."""
_LONGEST_COMPOUND = 24
_CACHED_WORDS = 100_000
_IRREGULAR = {
    "men": "man", "women": "woman", "children": "child", "feet": "foot", "teeth": "tooth", "mice": "mouse",
    "geese": "goose", "knives": "knife", "shelves": "shelf", "leaves": "leaf", "loaves": "loaf", "halves": "half",
    "scarves": "scarf", "wolves": "wolf", "buses": "bus", "lenses": "lens", "people": "person",
}  # fmt: skip
"""Plurals that Snowball does not bring to the stem of their singular."""
_BY_SCRIPT = (
    ("\u0400", "\u04ff", "russian"), ("\u0370", "\u03ff", "greek"), ("\u0600", "\u06ff", "arabic"),
    ("\u0900", "\u097f", "hindi"), ("\u0b80", "\u0bff", "tamil"), ("\u0530", "\u058f", "armenian"),
)  # fmt: skip
_WORD = re.compile(
    r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\w)|\d+[.,]\d+(?![\w.,])"
    rf"|[^\W_](?:[^\W_]|[{MARK}])*(?:['’`\-./&+_](?=[^\W_])[^\W_](?:[^\W_]|[{MARK}])*)*"
)
_PARTS = re.compile(rf"[^\W_](?:[^\W_]|[{MARK}])*")
_DECIMAL = re.compile(r"\d+[.,]\d+")
_THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+(\.\d+)?")
_LETTERS_OR_DIGITS = re.compile(rf"\d+|(?:[^\W\d_]|[{MARK}])+")
_NUMBERED = re.compile(r"(?=[a-z]*\d)[a-z0-9]{1,12}")
"""What stands behind a name as its number: 'iPhone 15', 'Galaxy S24'; the index has it as one word too."""
_APOSTROPHE = re.compile(r"['’`](?:s\b)?")
_VULGAR = re.compile("[½¼¾⅓⅔⅛⅜⅝⅞]")


@dataclass(frozen=True)
class Alternative:
    """Terms that together stand for a word of a query.

    Attributes:
        terms: all of them must be in the same field of an item.
        weight: 1 for the word itself, less for what is only like it.
    """

    terms: tuple[str, ...]
    weight: float = _WHOLE


@dataclass(frozen=True)
class Word:
    """A word of a query.

    Attributes:
        text: as the shopper typed it, folded.
        alternatives: best first; one of them suffices.
        weight: importance beside its rarity: 1, or less for words such as 'for'.
    """

    text: str
    alternatives: tuple[Alternative, ...]
    weight: float = 1.0


@dataclass(frozen=True)
class Terms:
    """Index terms of a text.

    Attributes:
        plain: its words and numbers in order; their number is the text's length.
        forms: other forms of them: compounds, parts, quantities in their base unit.
    """

    plain: list[str]
    forms: list[str]


class Analyzer:
    """Analyses texts.

    Args:
        language: Of texts in Latin letters; other scripts have their own.
        stemming: Whether words are reduced to their stems.
    """

    def __init__(self, language: Language = ENGLISH, stemming: bool = True):
        self.language, self.stemming = language, stemming
        self._stem = lru_cache(_CACHED_WORDS)(self._stemmed)
        self._word = lru_cache(_CACHED_WORDS)(self._cut)

    @cached_property
    def _stemmers(self) -> dict[str, Stemmer.Stemmer]:
        return {name: Stemmer.Stemmer(name) for name in {self.language, *(name for _, _, name in _BY_SCRIPT)}}

    def terms(self, text: str) -> Terms:
        """Index terms of a text."""
        found, before = Terms([], []), ""
        for word in self._words(text, indexing=True):
            if before.isalpha() and _NUMBERED.fullmatch(word.text) and before not in _STOP_WORDS:
                found.forms.append(before + word.text)
            before = word.text if word.text.isascii() else ""
            *others, plain = word.alternatives
            found.plain.extend(plain.terms)
            found.forms.extend(term for other in others for term in other.terms if term not in plain.terms)
        if found.plain:
            found.forms.extend(self.free_of(statement.word) for statement in free_of(fold(text)))
        return found

    def free_of(self, word: str) -> str:
        """Index term of 'sugar-free', 'no sugar', 'sugarless' and 无糖, given the word that an item is free of."""
        return self._stem(f"{word}free")

    def words(self, query: str) -> list[Word]:
        """Words of a query, in order."""
        return list(self._words(query, indexing=False))

    def key(self, text: str) -> str:
        """A text without all that may differ between two spellings of the same: 'USB-C ' and 'usb c' are alike."""
        return " ".join(term for word in self.words(text) for term in word.alternatives[0].terms)

    def _words(self, text: str, indexing: bool) -> Iterator[Word]:
        text = _VULGAR.sub(lambda one: " " + unicodedata.normalize("NFKD", one.group()), text[:MAX_TEXT_LENGTH])
        folded, at = fold(text).replace("\u2044", "/"), 0
        for quantity, start, end in quantities(folded):
            yield from self._by_script(folded[at:start], indexing)
            yield self._quantity(quantity, folded[start:end])
            at = end
        yield from self._by_script(folded[at:], indexing)

    def _by_script(self, folded: str, indexing: bool) -> Iterator[Word]:
        for script, run in runs(folded):
            if script is Script.SPACED:
                for found in _WORD.finditer(run):
                    yield self._word(found.group())
            elif script is Script.HAN:
                yield from _chinese(run, indexing)
            else:
                parts = clusters(run) if script is Script.UNSPACED else list(run)
                yield from _unsegmented(parts, indexing)

    def _quantity(self, quantity: str, text: str) -> Word:
        if quantity.endswith("%"):
            # '2%' is no 2 of something else.
            return Word(text.strip(), (Alternative((quantity,)),))
        apart = tuple(self._stem(part) for part in _number_parts(text))
        forms = [Alternative((quantity,))]
        if len(apart) > 1 and (joined := "".join(apart)) != quantity and "/" not in joined:
            forms.append(Alternative((joined,)))
        if memory := memory_size(quantity):
            forms.append(Alternative((memory,), _MEMORY))
        forms.append(Alternative(apart, _NUMBER_AND_UNIT))
        return Word(text.strip(), tuple(forms))

    def _cut(self, text: str) -> Word:
        """A word with its compound and its parts: 'wh-1000xm4' is 'wh1000xm4', 'wh 1000xm4' and 'wh 1000 xm 4'."""
        if _DECIMAL.fullmatch(text) or _THOUSANDS.fullmatch(text):
            return Word(text, (Alternative(tuple(_number_parts(text))),))
        parts = _PARTS.findall(_APOSTROPHE.sub("", text)) or [text]
        split = [piece for part in parts for piece in _LETTERS_OR_DIGITS.findall(part) or [part]]
        forms = [tuple(map(self._stem, split)), tuple(map(self._stem, parts))]
        if len(parts) > 1 and (joined := "".join(parts)) and len(joined) <= _LONGEST_COMPOUND:
            forms.insert(0, (self._stem(joined),))
        weight = _STOP_WEIGHT if text in _STOP_WORDS else 1.0
        weights = {forms[-2]: _LETTERS_AND_DIGITS, forms[-1]: _WHOLE}
        return Word(text, tuple(Alternative(form, weights.get(form, _WHOLE)) for form in dict.fromkeys(forms)), weight)

    def _stemmed(self, word: str) -> str:
        if not self.stemming or any(letter.isdigit() for letter in word):
            return word
        for first, last, language in _BY_SCRIPT:
            if first <= word[0] <= last:
                return self._stemmers[language].stemWord(word)
        if self.language == ENGLISH:
            # 'mens' is "men's" without the apostrophe.
            word = _IRREGULAR.get(word) or _IRREGULAR.get(word.removesuffix("s"), word)
        return self._stemmers[self.language].stemWord(word)


def _number_parts(text: str) -> list[str]:
    """Numbers and letters of a quantity: '1,100 g' is '1100' and 'g', '0,5l' is '0.5' and 'l'."""
    found = []
    for part in re.findall(r"\d[\d.,/]*|[^\W\d_]+", text):
        if _THOUSANDS.fullmatch(part):
            part = part.replace(",", "")
        found.append(part.rstrip(".,/").replace(",", "."))
    return found


def _chinese(run: str, indexing: bool) -> Iterator[Word]:
    """Words by dictionary; characters and pairs find what the dictionary cuts elsewhere."""
    if indexing:
        words = rjieba.cut(run)
        forms = dict.fromkeys([*run, *pairs(run), *rjieba.cut_for_search(run)])
        yield Word(run, (Alternative(tuple(forms)), Alternative(tuple(words))))
        return
    for word in rjieba.cut(run):
        forms = [Alternative((word,))]
        if len(word) > 2:
            forms.append(Alternative(tuple(pairs(word)), _PAIRS))
        if len(word) > 1:
            forms.append(Alternative(tuple(dict.fromkeys(word)), _CHARACTERS))
        yield Word(word, tuple(forms), _STOP_WEIGHT if word in _STOP_WORDS else 1.0)


def _unsegmented(parts: list[str], indexing: bool) -> Iterator[Word]:
    """Pairs of characters (Japanese, Korean) or clusters (Thai, Lao, Khmer, Burmese); a single one is a word."""
    if indexing:
        yield Word("".join(parts), (Alternative(tuple(parts)), Alternative(tuple(pairs(parts) or parts))))
        return
    for pair in pairs(parts) or parts:
        yield Word(pair, (Alternative((pair,)),))
