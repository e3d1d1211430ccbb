"""Synonyms of a shop: other terms that words of a query also stand for."""

from collections.abc import Sequence
from dataclasses import replace

from components.shared.search.config import SynonymRule
from components.shared.search.index import SearchIndex
from components.shared.text.analyzer import Alternative, Word

_WEIGHT = 0.9
"""Weight of a synonym beside the word itself."""
_LONGEST = 4
"""Words of the longest text that is expanded."""


class Synonyms:
    """Rules over one catalog. What a rule finds is not expanded again by another one.

    Args:
        rules: See config.parse_synonyms.
        index: Index of the catalog.
    """

    def __init__(self, rules: Sequence[SynonymRule], index: SearchIndex):
        self._analyzer = index.analyzer
        self._targets: dict[str, dict[str, tuple[str, ...]]] = {}
        for rule in rules:
            for source in rule.sources:
                targets = self._targets.setdefault(self._analyzer.key(source), {})
                targets |= {one: tuple(index.analyzer.terms(one).plain) for one in rule.targets if one != source}

    def of(self, text: str) -> list[tuple[str, ...]]:
        """Terms of each synonym of a text; [] if no rule names it."""
        return list(filter(None, self._targets.get(self._analyzer.key(text), {}).values()))

    def expand(self, words: Sequence[Word], found: dict[str, list[str]]) -> list[Word]:
        """Add to the words of a query what they also stand for.

        Args:
            words: Words of the query.
            found: Receives the text of the query and the synonyms of each rule that applies.
        """
        words = list(words)
        if not self._targets:
            return words
        for start in range(len(words)):
            for end in range(start + 1, min(start + _LONGEST, len(words)) + 1):
                key = " ".join(term for word in words[start:end] for term in word.alternatives[0].terms)
                if targets := self._targets.get(key):
                    found[" ".join(word.text for word in words[start:end])] = list(targets)
                    more = tuple(Alternative(terms, _WEIGHT) for terms in targets.values() if terms)
                    for at in range(start, end):
                        words[at] = replace(words[at], alternatives=(*words[at].alternatives, *more))
        return words
