"""What is suggested to shoppers who type: texts of a catalog and of its query log, with weights."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Literal

import rjieba

from components.shared.search.documents import Document
from components.shared.search.index import SearchIndex
from components.shared.text.scripts import Script, fold, runs

_SHARE = {"query": 1.0, "category": 0.9, "brand": 0.9, "phrase": 0.7, "title": 0.3}
"""Weight of the most usual text of each kind; others by the logarithm of their number."""
_LONGEST = 3
"""Words of the longest phrase of a title."""
_FIRST = 8
"""Words of a title that phrases begin with."""
_LEAST_ITEMS = 2
_LONGEST_TITLE = 60
_TITLES_READ = 200_000
"""Titles that phrases are counted in; of a larger catalog every second, third ... one."""
_MOST = 100_000
"""Suggestions of one catalog."""
_WORD = re.compile(r"[^\W_]+(?:['’.&-][^\W_]+)*")


@dataclass(frozen=True)
class Phrase:
    """A text that may be suggested.

    Attributes:
        text: As it is shown.
        kind: What it is.
        weight: Larger for what is more usual, 0 to 1.
        starts: Where its words begin in the folded text.
    """

    text: str
    kind: Literal["query", "brand", "category", "phrase", "title"]
    weight: float
    starts: tuple[int, ...]

    @cached_property
    def key(self) -> str:
        """The folded text."""
        return fold(self.text)


def catalog_phrases(
    documents: Callable[[], Iterator[Document]], index: SearchIndex, weights: Iterable[float] | None = None,
    queries: Mapping[str, float] | None = None,
) -> list[Phrase]:  # fmt: skip
    """Collect what may be suggested; of a text of several kinds, the first of query, category, brand, phrase, title.

    Args:
        documents: Items of the catalog, row by row.
        index: Index of the catalog.
        weights: How often each item is asked for; None for all alike.
        queries: Number of searches by query, of those that the catalog answers.
    """
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in _SHARE}
    for query, searches in (queries or {}).items():
        counts["query"][" ".join(fold(query).split())] += searches  # pyright: ignore[reportArgumentType]
    every = 1 + index.postings.documents // _TITLES_READ
    for row, (document, asked) in enumerate(zip(documents(), weights or repeat(0.0))):  # noqa: B905
        weight = 1 + math.log1p(asked)
        counts["category"].update(dict.fromkeys(filter(None, document.categories), weight))
        counts["brand"].update({document.brand: weight} if document.brand else {})
        if row % every == 0 and document.title:
            counts["phrase"].update(dict.fromkeys(_phrases_of(document.title), 1))
            if len(document.title) <= _LONGEST_TITLE:
                counts["title"][document.title] += weight  # pyright: ignore[reportArgumentType]
    counts["phrase"] = _told(counts["phrase"])
    return _merged(counts)


def _told(phrases: Counter[str]) -> Counter[str]:
    """Phrases of at least two titles, without those that never stand alone, as 'sour' beside 'sour cream'."""
    often = {phrase: count for phrase, count in phrases.items() if count >= _LEAST_ITEMS}
    longer = {shorter for phrase, count in often.items() for shorter in _shorter(phrase) if often.get(shorter) == count}
    return Counter({phrase: count for phrase, count in often.items() if phrase not in longer})


def _shorter(phrase: str) -> Iterator[str]:
    """A phrase without its first and without its last word."""
    _, starts = _words(phrase)
    if len(starts) > 1:
        yield phrase[: starts[-1]].strip()
        yield phrase[starts[1] :]


def _merged(counts: Mapping[str, Counter[str]]) -> list[Phrase]:
    found: dict[str, Phrase] = {}
    for kind, share in _SHARE.items():
        most = math.log1p(max(counts[kind].values(), default=1))
        for text, count in sorted(counts[kind].items(), key=lambda entry: (-entry[1], entry[0])):
            folded, starts = _words(text)
            if starts:
                phrase = Phrase(text, kind, share * math.log1p(count) / most, tuple(starts))  # pyright: ignore[reportArgumentType]
                found.setdefault(folded.strip(), phrase)
    return sorted(found.values(), key=lambda phrase: (-phrase.weight, phrase.text))[:_MOST]


def _phrases_of(title: str) -> Iterator[str]:
    """Runs of up to three words of a title that neither begin with a number nor are one letter."""
    folded, starts = _words(title)
    ends = [_end(folded, start, starts[at + 1] if at + 1 < len(starts) else len(folded))
            for at, start in enumerate(starts)]  # fmt: skip
    for at, start in enumerate(starts[:_FIRST]):
        for end in ends[at : at + _LONGEST]:
            text = folded[start:end]
            if len(text) > 1 and not text[0].isdigit() and "," not in text and "(" not in text:
                yield text


def _end(folded: str, start: int, following: int) -> int:
    found = _WORD.match(folded, start, following)
    return found.end() if found else following


def _words(text: str) -> tuple[str, list[int]]:
    """The folded text and where its words begin; Chinese words by dictionary."""
    folded, at = fold(text), 0
    starts: list[int] = []
    for script, run in runs(folded):
        at = folded.index(run, at)
        if script is Script.HAN:
            offset = at
            for word in rjieba.cut(run):
                starts.append(offset)
                offset += len(word)
        else:
            starts += [at + found.start() for found in _WORD.finditer(run)]
        at += len(run)
    return folded, starts
