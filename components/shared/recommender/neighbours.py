"""Item neighbours by common buyers, as of one reference time.

own items [rows, items]  x  similarity [items, items]  =  item_knn_score [rows, items]
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from components.shared.features.pairs import PairSummary
from components.shared.features.ragged import expand_ranges, group_sums
from components.shared.mapped_arrays import map_array

_FILES = {"offsets": np.int64, "item": np.int32, "similarity": np.float32}
"""Arrays of the CSR matrix and their types; one .npy file each."""


@dataclass(frozen=True)
class Neighbours:
    """Nearest neighbours of items.

    Attributes:
        similarity: sparse float32 [items, items]; row i contains the nearest neighbours of catalog row i, not i itself.
    """

    similarity: sparse.csr_matrix

    def save(self, folder: Path) -> None:
        """Write one file per array."""
        folder.mkdir(parents=True)
        arrays = (self.similarity.indptr, self.similarity.indices, self.similarity.data)
        for (name, dtype), values in zip(_FILES.items(), arrays, strict=True):
            np.save(folder / f"{name}.npy", values.astype(dtype))

    @classmethod
    def open(cls, folder: Path) -> "Neighbours":
        """Memory-map the files of `folder`."""
        offsets, item, similarity = (map_array(folder / f"{name}.npy") for name in _FILES)
        items = len(offsets) - 1
        return cls(sparse.csr_matrix((similarity, item, offsets), shape=(items, items)))

    def item_knn_score(self, touched: PairSummary, rows: int) -> sparse.csr_matrix:
        """Item-kNN scores for each shopper, sparse float32 [rows, items], items in ascending order.

        A score is the sum of log(1 + decayed event weight) times similarity over the shopper's items. Only neighbours
        of these items are stored, so the cost depends on the shopper's history, not on the size of the catalog.

        Source: Deshpande and Karypis, Item-Based Top-N Recommendation Algorithms (2004).
        """
        items = len(self.similarity.indptr) - 1
        weight = np.log1p(touched.weight).astype(np.float32)
        if rows == 1:
            return self._of_one(touched.key, weight, items)
        own = sparse.csr_matrix((weight, (touched.key // items, touched.key % items)), shape=(rows, items))
        found = sparse.csr_matrix(own @ self.similarity)
        found.sort_indices()
        return found

    def _of_one(self, own: np.ndarray, weight: np.ndarray, items: int) -> sparse.csr_matrix:
        """The scores of one shopper, for which scipy's product takes longer to begin than to run."""
        starts = np.asarray(self.similarity.indptr)[own]
        lengths = np.asarray(self.similarity.indptr)[own + 1] - starts
        flat = expand_ranges(starts, lengths)
        near, sums = group_sums(
            self.similarity.indices[flat].astype(np.int64), np.repeat(weight, lengths) * self.similarity.data[flat]
        )
        found = sparse.csr_matrix((1, items), dtype=np.float32)
        found.indices, found.data = near, sums.astype(np.float32)
        found.indptr = np.array([0, len(near)])
        return found

    def most_similar_own(self, own: np.ndarray, weight: np.ndarray, item: np.ndarray) -> np.ndarray:
        """For each item, the shopper's item with the highest weighted similarity.

        Args:
            own: int64 [n], the shopper's distinct items.
            weight: float [n], their weights.
            item: int64 [m], catalog rows.

        Returns:
            int64 [m], values of `own`; 0 if none is a neighbour.
        """
        if not len(own) or not len(item):
            return np.zeros(len(item), np.int64)
        # What scipy's slices of rows and columns do takes ten times as long for a few items.
        starts = np.asarray(self.similarity.indptr)[own]
        lengths = np.asarray(self.similarity.indptr)[own + 1] - starts
        flat = expand_ranges(starts, lengths)
        asked = np.zeros(len(self.similarity.indptr), bool)
        asked[item] = True
        hit = np.flatnonzero(asked[self.similarity.indices[flat]])
        order = np.argsort(item)
        at = order[np.searchsorted(item[order], self.similarity.indices[flat[hit]])]
        scores = np.zeros((len(own), len(item)), np.float32)
        scores[np.repeat(np.arange(len(own)), lengths)[hit], at] = self.similarity.data[flat[hit]]
        scores = scores * weight[:, None]
        best = scores.argmax(0)
        return np.where(scores[best, np.arange(len(item))] > 0, own[best], 0)


def item_knn_scores_of(
    item_knn_score: sparse.csr_matrix, row: np.ndarray, item: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Item-kNN scores of (row, item) pairs, and the highest score of each pair's row, both float32 [pairs]."""
    lengths = np.diff(np.asarray(item_knn_score.indptr))
    rows, items = len(lengths), int(item_knn_score.get_shape()[1])
    near, key = np.repeat(np.arange(rows), lengths) * items + item_knn_score.indices, row * items + item
    at = np.minimum(np.searchsorted(near, key), max(len(near) - 1, 0))
    own = np.where(near[at] == key, item_knn_score.data[at], 0) if len(near) else np.zeros(len(key))
    nearest = item_knn_score.max(1).toarray().ravel()[row] if len(near) else np.zeros(len(key))
    return own.astype(np.float32), nearest.astype(np.float32)
