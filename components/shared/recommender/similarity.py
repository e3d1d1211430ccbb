"""Cosine similarity of items by common buyers; keeps the nearest items of each item (sparse_dot_topn).

Shoppers with many items have less weight. Source: Deshpande and Karypis, Item-Based Top-N Recommendation Algorithms
(2004), who normalise the rows of the shopper-item matrix to unit length, a power of one half; other powers as in
Fu et al., Revisiting Neighborhood-based Link Prediction for Collaborative Filtering (WWW 2022 Companion).
"""

import numpy as np
from scipy import sparse

from components.shared.cgroup import usable_cpus
from components.shared.options import Amount, Count, Options, Rate
from components.shared.recommender.neighbours import Neighbours


class SimilarityConfig(Options):
    """Options of the item similarities."""

    neighbours: Count = 100
    """Number of neighbours per item."""
    min_shoppers: Count = 3
    """Minimum number of buyers of an item with neighbours."""
    max_items: Count = 200_000
    """Maximum number of items, by number of buyers."""
    max_shoppers: Count = 200_000
    """Maximum number of shoppers; more are sampled by a hash of their index."""
    shopper_power: Rate = 0.3
    """Exponent of the normalisation by the shopper's number of items; 0: no normalisation."""
    threads: Amount = 0
    """Number of threads; 0: one per usable CPU."""


def cosine_neighbours(taken: sparse.csr_matrix, config: SimilarityConfig) -> Neighbours:
    """Nearest neighbours of every item.

    Args:
        taken: Binary [shoppers, items], 1 if the shopper bought the item; column 0 is the unknown item.
        config: Limits.
    """
    shoppers = np.asarray(taken.sum(0)).ravel()
    items = len(shoppers)
    shoppers[0] = 0
    eligible = np.flatnonzero(shoppers >= config.min_shoppers)
    eligible = np.sort(eligible[np.argsort(-shoppers[eligible], kind="stable")[: config.max_items]])
    if len(eligible) < 2:
        return Neighbours(sparse.csr_matrix((items, items), dtype=np.float32))
    from sparse_dot_topn import sp_matmul_topn  # takes .3 s, which commands that only read options save

    scaled = _scaled(taken, eligible, config.shopper_power)
    # One more than configured, because the nearest neighbour of an item is itself.
    keep = min(config.neighbours + 1, len(eligible))
    threads = config.threads or usable_cpus()
    found = sp_matmul_topn(sparse.csr_matrix(scaled.T), scaled, top_n=keep, n_threads=threads).tocoo()
    other = found.row != found.col
    position = (eligible[found.row[other]], eligible[found.col[other]])
    # Rounding can raise the similarity of two items with the same buyers above 1.
    similarity = sparse.csr_matrix((np.minimum(found.data[other], 1.0), position), shape=(items, items))
    similarity.sort_indices()
    return Neighbours(similarity)


def _scaled(taken: sparse.csr_matrix, eligible: np.ndarray, power: float) -> sparse.csr_matrix:
    """Columns of length 1, whose inner products are the similarities, float32 [shoppers, eligible items]."""
    activity = np.maximum(np.asarray(taken.sum(1)).ravel(), 1.0)
    weighted = sparse.csr_matrix(sparse.diags(activity**-power) @ taken[:, eligible])
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(0)).ravel())
    return sparse.csr_matrix(weighted @ sparse.diags(1.0 / lengths), dtype=np.float32)
