"""Exact or approximate nearest neighbours by inner product (faiss); the item bias is an additional coordinate.

score = user_vector . item_vector + item_bias = [user_vector, 1] . [item_vector, item_bias]
"""
# faiss is a SWIG module whose classes have keyword arguments that are missing in its stubs.
# pyright: reportCallIssue=false, reportAttributeAccessIssue=false

from pathlib import Path

import faiss
import numpy as np

_MOST, _SPARE = 0.7, 1.5
"""Share of allowed items from which more items are searched than asked for, and those that may not be answered left
out; times as many as on average are needed."""
EXACT_UP_TO = 200_000
"""Catalogs up to this many items are searched exactly: a flat scan of them takes a few milliseconds."""


class VectorIndex:
    """Index of item vectors, searched by user vectors."""

    def __init__(self, index: faiss.Index):
        self._index = index

    @classmethod
    def build(cls, vectors: np.ndarray, bias: np.ndarray, exact_up_to: int = EXACT_UP_TO) -> "VectorIndex":
        """Index item vectors.

        Args:
            vectors: float32 [items, dim].
            bias: float32 [items].
            exact_up_to: Larger catalogs get a graph (HNSW, Malkov and Yashunin 2016) instead of a flat scan.
        """
        joined = np.ascontiguousarray(np.c_[vectors, bias], np.float32)
        kind = "Flat" if len(joined) <= exact_up_to else "HNSW32,Flat"
        index = faiss.index_factory(joined.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
        index.add(joined)
        return cls(index)

    @property
    def exact(self) -> bool:
        """Whether a search scans every item."""
        return not isinstance(self._index, faiss.IndexHNSW)

    def recall(self, users: np.ndarray, count: int, part: int = 16) -> float:
        """Mean share of each user's `count` best items that a search finds; items that tie with the last one count.

        Args:
            users: float32 [users, dim].
            count: Number of best items, limited to the size of the index.
            part: Number of users whose scores of all items are computed at a time.
        """
        if self.exact:
            return 1.0
        count, every = min(count, self._index.ntotal), self._index.reconstruct_n(0, self._index.ntotal)
        found = []
        for start in range(0, len(users), part):
            some = users[start : start + part]
            scores = some @ every[:, :-1].T + every[:, -1]
            least = np.partition(scores, -count, 1)[:, -count, None]
            found.append((self.search(some, count)[1] >= least - 1e-5 * np.abs(least)).mean(1))
        return float(np.concatenate(found).mean())

    def save(self, path: Path) -> None:
        """Write the index."""
        faiss.write_index(self._index, str(path))

    @classmethod
    def load(cls, path: Path) -> "VectorIndex":
        """Read the index."""
        return cls(faiss.read_index(str(path)))

    def search(self, users: np.ndarray, count: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Rows int64 [users, count] and scores float32 [users, count], best first; missing positions are row 0.

        Args:
            users: float32 [users, dim].
            count: Number of items per user.
            allowed: bool [items], rows that may be returned.
        """
        queries = np.ones((len(users), users.shape[1] + 1), np.float32)
        queries[:, :-1] = users
        count = min(count, self._index.ntotal)
        if allowed is not None and self.exact and (found := self._most_allowed(queries, count, allowed)) is not None:
            return found
        parameters = self._parameters(count, allowed)
        scores, rows = self._index.search(queries, count, params=parameters)
        return np.maximum(rows, 0), scores

    def _most_allowed(
        self, queries: np.ndarray, count: int, allowed: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """The same as with a selector, which makes faiss look at item after item; None if that may be faster."""
        share = np.count_nonzero(allowed) / max(len(allowed), 1)
        wanted = int(_SPARE * count / max(share, 1e-9))
        if share < _MOST or wanted > self._index.ntotal:
            return None
        scores, rows = self._index.search(queries, wanted)
        kept = allowed[rows]
        place = np.cumsum(kept, 1)
        if place[:, -1].min(initial=count) < count:
            return None
        first = kept & (place <= count)
        return rows[first].reshape(-1, count), scores[first].reshape(-1, count)

    def nearest(self, vector: np.ndarray, count: int, allowed: np.ndarray | None = None) -> np.ndarray:
        """Rows int64 [count] with the largest inner product with one item's vector; missing positions are row 0.

        Args:
            vector: float32 [dim], without a bias, which would favour popular items.
            count: Number of items.
            allowed: bool [items], rows that may be returned.
        """
        query = np.ascontiguousarray(np.append(vector, 0)[None], np.float32)
        count = min(count, self._index.ntotal)
        _, rows = self._index.search(query, count, params=self._parameters(count, allowed))
        return np.maximum(rows[0], 0)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Stored vectors with their bias as the last column, float32 [rows, dim + 1]."""
        return self._index.reconstruct_batch(np.ascontiguousarray(rows, np.int64))

    def _parameters(self, count: int, allowed: np.ndarray | None) -> "faiss.SearchParameters | None":
        selector = None
        if allowed is not None:
            selector = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        if isinstance(self._index, faiss.IndexHNSW):
            return faiss.SearchParametersHNSW(sel=selector, efSearch=max(64, 2 * count))
        return faiss.SearchParameters(sel=selector) if selector is not None else None
