"""BM25 over item titles and categories (bm25s), with the same tokenizer as the models.

Source: Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond (2009); Lucene's idf.
"""

import logging
from pathlib import Path

import bm25s
import numpy as np

from components.shared.text.tokenizer import tokenize

# bm25s logs every index that it builds at level DEBUG, regardless of the root logger's level.
logging.getLogger("bm25s").setLevel(logging.WARNING)


class LexicalIndex:
    """BM25 index of catalog rows."""

    def __init__(self, index: bm25s.BM25, rows: np.ndarray):
        self._index = index
        self._rows = rows

    @classmethod
    def build(cls, texts: list[str]) -> "LexicalIndex":
        """Index `texts`, one per catalog row; texts without tokens are omitted."""
        tokens = [tokenize(text) for text in texts]
        rows = np.array([row for row, found in enumerate(tokens) if found], np.int64)
        index = bm25s.BM25(k1=1.2, b=0.75)
        # bm25s needs at least one document; a catalog without tokens gets one that no query matches.
        index.index([tokens[row] for row in rows] or [["\0"]], show_progress=False)
        return cls(index, rows if len(rows) else np.zeros(1, np.int64))

    def save(self, folder: Path) -> None:
        """Write the index, without pickles."""
        self._index.save(str(folder), allow_pickle=False)
        np.save(folder / "rows.npy", self._rows)

    @classmethod
    def load(cls, folder: Path) -> "LexicalIndex":
        """Memory-map an index written by `save`."""
        return cls(bm25s.BM25.load(str(folder), mmap=True, allow_pickle=False), np.load(folder / "rows.npy"))

    def scores(self, query: str) -> np.ndarray:
        """BM25 score of every catalog row up to the last indexed one, float32; 0 if no word matches."""
        known = [token for token in tokenize(query) if token in self._index.vocab_dict]
        scores = np.zeros(int(self._rows[-1]) + 1, np.float32)
        if known:
            scores[self._rows] = self._index.get_scores(known)
        return scores

    def search(self, query: str, count: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Rows and scores of the best `count` rows with a matching word, best first; ties are sorted by row."""
        scores = self.scores(query)
        if allowed is not None:
            scores = np.where(allowed[: len(scores)], scores, 0.0)
        matching = np.flatnonzero(scores > 0)
        order = matching[np.lexsort((matching, -scores[matching]))][:count]
        return order, scores[order]
