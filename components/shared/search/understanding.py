"""What a query is understood as: words that the catalog has, prices, exclusions, brands and other names."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from components.shared.search.index import SearchIndex
from components.shared.search.intents import Intents, read_intents
from components.shared.search.labels import Label, Labels
from components.shared.search.steps import EVERY_STEP, SearchSteps
from components.shared.search.synonyms import Synonyms
from components.shared.search.vocabulary import CatalogWords
from components.shared.text.analyzer import Alternative, Word
from components.shared.text.free_of import free_of
from components.shared.text.scripts import fold, is_cjk, pairs

_SHORTEST_PART = 3
"""Letters of the parts of a word that is two words in the catalog: 'icecream'."""
_SHORT = 6
"""Letters below which a word is short."""
_MOST_WORDS = 32
"""Words of a query that are searched; more would cost time, and are no search."""
_JOINED_WEIGHT, _PAIR_WEIGHT = 1.0, 0.5


@dataclass(frozen=True)
class Understanding:
    """What a query is understood as.

    Attributes:
        query: As it was asked.
        text: What is searched for: corrected, without prices and exclusions.
        words: Words of `text`.
        intents: Prices and exclusions.
        corrections: (word as typed, word of the catalog).
        unknown: Words that no item has.
        labels: Names of the catalog in the query, each with its words.
        synonyms: Texts of the query and what they also stand for.
    """

    query: str
    text: str
    words: tuple[Word, ...]
    intents: Intents
    corrections: tuple[tuple[str, str], ...] = ()
    unknown: tuple[str, ...] = ()
    labels: tuple[tuple[Label, tuple[Word, ...]], ...] = ()
    synonyms: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def written(self) -> str:
        """The query itself if nothing of it is changed, else `text`: what models read, which learn from queries."""
        unchanged = not self.corrections and self.intents.text == _plain(self.query)
        return self.query if unchanged else self.text

    def told(self) -> dict[str, Any]:
        """What a frontend shows, so that a shopper can undo it; without what does not apply."""
        told = {
            "text": self.text if self.written != self.query else "",
            "corrected": dict(self.corrections),
            "unknown": list(self.unknown),
            "synonyms": dict(self.synonyms),
            "price_min": self.intents.price_min, "price_max": self.intents.price_max,
            "cheap": self.intents.cheap or None,
            "without": list(self.intents.without),
            "names": [{"kind": label.kind, "name": label.name} | ({"attribute": label.attribute} if label.attribute
                      else {}) for label, _ in self.labels],
        }  # fmt: skip
        return {name: value for name, value in told.items() if value or value == 0}


class QueryReader:
    """Understands queries of one catalog.

    Args:
        index: Index of the catalog. words: Its words as written. labels: Its names. synonyms: Of the shop.
        steps: Which of spelling, intents and names are read.
    """

    def __init__(
        self, index: SearchIndex, words: CatalogWords, labels: Labels, synonyms: Synonyms,
        steps: SearchSteps = EVERY_STEP,
    ):  # fmt: skip
        self._index, self._words, self._labels, self._synonyms = index, words, labels, synonyms
        self._steps = steps

    def read(self, query: str, verbatim: bool = False) -> Understanding:
        """Understand a query.

        Args:
            query: Text of a shopper.
            verbatim: Whether to take it as it is written: nothing is corrected, left out or read as a price.
        """
        read = self._steps.intents and not verbatim
        intents = read_intents(query) if read else Intents(_plain(query))
        words, free = self._free_of(intents.text) if read else (self._index.analyzer.words(intents.text), ())
        intents = replace(intents, without=tuple(dict.fromkeys((*intents.without, *free))))
        words = words[:_MOST_WORDS]
        corrections: dict[str, str] = {}
        synonyms: dict[str, list[str]] = {}
        if not verbatim:
            # A word that stands for one of the catalog is no misspelling; a corrected word may stand for others.
            if self._steps.spelling:
                words = list(self._corrected(words, self._synonyms.expand(words, {}), corrections))
            words = self._synonyms.expand(words, synonyms)
            words = [self._joined(words, at) for at in range(len(words))]
        unknown = tuple(dict.fromkeys(word.text for word in words if not self._index.known(word)))
        # A name that is given twice counts once.
        named = self._steps.names and not verbatim
        found = {} if not named else {label: tuple(span) for label, span in self._labels.found(words)}
        return Understanding(query, " ".join(word.text for word in words), tuple(words), intents,
                             tuple(corrections.items()), unknown, tuple(found.items()), synonyms)  # fmt: skip

    def _free_of(self, text: str) -> tuple[list[Word], tuple[str, ...]]:
        """Words of a text, 'sugar free' as one, and what they say that items should be free of.

        It is one if items say it, and if it is no adjective of the catalog ('wireless').
        """
        analyzer, words, free, at = self._index.analyzer, [], [], 0
        for stated in free_of(text):
            term, written = analyzer.free_of(stated.word), text[stated.start : stated.end]
            if not self._index.postings.frequency(term):
                continue
            if stated.adjective and all(map(self._index.known, analyzer.words(written))):
                continue
            words += [*analyzer.words(text[at : stated.start]), Word(written, (Alternative((term,)),))]
            free.append(stated.word)
            at = stated.end
        return [*words, *analyzer.words(text[at:])], tuple(free)

    def _corrected(
        self, words: Sequence[Word], expanded: Sequence[Word], corrections: dict[str, str]
    ) -> Iterator[Word]:
        """The words, those that no item has, nor a synonym of them, replaced by what they probably mean."""
        for at, word in enumerate(words):
            if self._index.known(expanded[at]) or self._known_beside(words, at):
                yield word
            elif meant := self._meant(words, at):
                corrections[word.text] = meant
                yield from self._index.analyzer.words(meant)
            elif is_cjk(word.text) and len(word.text) > 2:
                # All but a character of 冰淇凌 is in 冰淇淋.
                yield replace(word, alternatives=tuple(Alternative((pair,), _PAIR_WEIGHT) for pair in pairs(word.text)))
            else:
                yield word

    def _meant(self, words: Sequence[Word], at: int) -> str:
        """The words of the catalog that a word which it lacks may be; '' for none."""
        if parts := self._parts(words[at].text):
            return " ".join(parts)
        others = [word.alternatives[0].terms for word in (*words[:at], *words[at + 1 :]) if self._index.known(word)]

        def beside(meant: str) -> float:
            forms = [self._index.analyzer.terms(meant).plain, *self._synonyms.of(meant)]
            together = [max(self._index.together([*form, *other]) for form in forms) for other in others]
            # A short word is one edit from many others: 'diet coke' is no 'cone' if there is no diet cone.
            return sum(together) if all(together) or len(words[at].text) >= _SHORT else -1.0

        return self._words.correction(words[at].text, beside)

    def _known_beside(self, words: Sequence[Word], at: int) -> bool:
        """Whether a word is half of one that the catalog has: 'key board'."""
        return self._joined(words, at).alternatives != words[at].alternatives

    def _parts(self, word: str) -> tuple[str, str] | None:
        """The two words of the most items that are this word without the blank; None if no item has both."""
        if not word.isalpha():
            return None
        best, found = 0, None
        for cut in range(_SHORTEST_PART, len(word) - _SHORTEST_PART + 1):
            parts = word[:cut], word[cut:]
            items = self._index.together([term for part in parts for term in self._index.analyzer.terms(part).plain])
            if items > best:
                best, found = items, parts
        return found

    def _joined(self, words: Sequence[Word], at: int) -> Word:
        """A word that the compound with its neighbour also stands for, if the catalog has that: 'usb c' as 'usbc'."""
        found = words[at]
        for left, right in ((at - 1, at), (at, at + 1)):
            if left < 0 or right >= len(words) or not _joinable(words[left].text + words[right].text):
                continue
            compound = self._index.analyzer.terms(words[left].text + words[right].text).plain
            if len(compound) == 1 and self._index.postings.frequency(compound[0]):
                more = Alternative((compound[0],), _JOINED_WEIGHT)
                found = replace(found, alternatives=(*found.alternatives, more))
        return found


def _plain(query: str) -> str:
    return " ".join(fold(query).split())


def _joinable(text: str) -> bool:
    return text.isascii() and text.isalnum() and not text.isdigit()
