"""Queries of shoppers that a catalog answers: what is suggested, and evidence for how words are spelled.

A query counts if every word of it is in the catalog, itself or by a synonym. One that leads nowhere, such as a usual
misspelling, is no evidence, however often it is searched.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from components.shared.search.index import SearchIndex
from components.shared.search.synonyms import Synonyms
from components.shared.search.vocabulary import written_words


@dataclass(frozen=True)
class QueryLog:
    """Searches that lead somewhere.

    Attributes:
        queries: Query -> number of searches.
        words: Word as it is written -> number of searches with it.
        by_synonym: Those of `words` that no item has, but what they stand for.
    """

    queries: Mapping[str, float]
    words: Mapping[str, float]
    by_synonym: frozenset[str]

    @classmethod
    def of(cls, searches: Mapping[str, float], index: SearchIndex, synonyms: Synonyms) -> "QueryLog":
        """Keep what the catalog answers.

        Args:
            searches: Number of searches by query.
            index: Index of the catalog.
            synonyms: Of the shop.
        """
        queries: dict[str, float] = {}
        words: Counter[str] = Counter()
        by_synonym: set[str] = set()
        for query, count in searches.items():
            read = index.analyzer.words(query)
            expanded = synonyms.expand(read, {})
            if not read or not all(map(index.known, expanded)):
                continue
            queries[query] = count
            words.update(dict.fromkeys(written_words(query), count))  # pyright: ignore[reportArgumentType]
            by_synonym.update(word.text for word in read if not index.known(word))
        return cls(queries, words, frozenset(by_synonym & words.keys()))
