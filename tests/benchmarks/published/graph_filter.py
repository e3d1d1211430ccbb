"""Item-item model in closed form: the history's signal on the user-item graph is smoothed, then sharpened.

Sources: Shen et al., How Powerful is Graph Convolution for Recommendation? (CIKM 2021) for the linear and the ideal
low-pass filter; Choi et al., Blurring-Sharpening Process Models for Collaborative Filtering (SIGIR 2023); powers of
the degrees other than one half as in Fu et al., Revisiting Neighborhood-based Link Prediction for Collaborative
Filtering (WWW 2022 Companion).
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.utils.extmath import randomized_svd

from components.shared.features.ragged import Ragged


@dataclass(frozen=True, kw_only=True)
class GraphFilterConfig:
    """Settings of the graph filter."""

    name: str
    """Name in tables."""
    low_pass: float = 0.3
    """Weight of the ideal low-pass filter relative to the linear one; 0: none."""
    factors: int = 256
    """Singular vectors that the ideal filter passes."""
    sharpening: float = 0.0
    """Time of one Runge-Kutta step that reverses the smoothing; 0: none."""
    decay: float = 1.0
    """Weight of an item of the history relative to the next newer one; 1 if histories have no order."""
    user_power: float = 0.5
    """Interactions are divided by this power of their user's degree; below one half, active users count for more."""
    item_power: float = 0.5
    """And by this power of their item's degree; below one half, popular items rank higher."""
    recency: float = 1.0
    """Weight of the oldest history relative to the newest, if histories are dated; it grows by a constant factor per
    history."""


class Graph:
    """Normalised interactions and their leading singular vectors, shared by filters."""

    def __init__(self, histories: Ragged, items: int, config: GraphFilterConfig, seed: int, dated: bool = False):
        """Normalise by powers of both degrees and scale the largest singular value to 1.

        Args:
            histories: Items of each user.
            items: Catalog rows.
            config: Powers, recency, and how many singular vectors to compute.
            seed: Seed of the randomised decomposition (Halko et al. 2011).
            dated: Whether the histories are in order of time.
        """
        self.items, shape = items, (len(histories), items)
        # Copy, because scipy sorts and shrinks rows in place, which would change the histories.
        data = np.ones(len(histories.values), np.float32), histories.values, histories.offsets
        pairs = sp.csr_array(data, shape, copy=True)
        pairs.sum_duplicates()
        pairs.data[:] = 1.0
        weight = np.geomspace(config.recency if dated else 1.0, 1.0, len(histories))
        degree = (weight @ pairs).astype(np.float32)
        degree[degree == 0] = 1.0  # items without users
        activity = np.maximum(np.asarray(pairs.sum(1)).ravel(), 1.0).astype(np.float32)
        self.power = degree**config.item_power
        normal = sp.diags_array(weight**0.5 * activity**-config.user_power) @ pairs @ sp.diags_array(1 / self.power)
        self.singular = np.zeros((0, items), np.float32)
        # With square roots of both degrees the largest singular value is 1 already, for any weights of the histories.
        scaled = (config.user_power, config.item_power) != (0.5, 0.5)
        if config.factors or scaled:
            wanted = min(max(config.factors, 1), min(shape) - 1)
            _, values, right = randomized_svd(sp.csr_matrix(normal, dtype=np.float32), wanted, random_state=seed)
            self.singular = np.asarray(right[: config.factors], np.float32)
            normal = normal / values[0] if scaled else normal
        self.normal, self.transposed = sp.csr_array(normal, dtype=np.float32), sp.csr_array(normal.T, dtype=np.float32)

    def smooth(self, signal_IB: np.ndarray) -> np.ndarray:
        """Apply the normalised item-item graph once, [I, B]."""
        return self.transposed @ (self.normal @ signal_IB)

    def low_pass(self, signal_IB: np.ndarray, factors: int) -> np.ndarray:
        """Project on the leading singular vectors, [I, B]."""
        vectors = self.singular[:factors]
        return self.power[:, None] * (vectors.T @ (vectors @ (signal_IB / self.power[:, None])))


class GraphFilter:
    """A graph filter as a Scorer."""

    def __init__(self, config: GraphFilterConfig, graph: Graph):
        self.config, self.graph = config, graph

    def __call__(self, queries: Ragged) -> torch.Tensor:
        """Return scores, float [queries, items]."""
        config = self.config
        signal = self.signal(queries)
        scores = self.graph.smooth(signal)
        if config.low_pass:
            scores += config.low_pass * self.graph.low_pass(signal, config.factors)
        if config.sharpening:
            # The Runge-Kutta step of dx/dt = -x P: P is linear, so the step is the series of the exponential.
            step, term = scores, scores
            for order in range(1, 5):
                term = self.graph.smooth(term) * np.float32(-config.sharpening / order)
                step = step + term
            scores = step
        return torch.from_numpy(np.ascontiguousarray(scores.T))

    def signal(self, queries: Ragged) -> np.ndarray:
        """Return histories as columns, float32 [I, queries]; a repeated item counts at its newest position."""
        owner = np.repeat(np.arange(len(queries)), queries.lengths)
        age = np.repeat(queries.offsets[1:], queries.lengths) - 1 - np.arange(len(owner))
        signal = np.zeros((self.graph.items, len(queries)), np.float32)
        np.maximum.at(signal, (queries.values, owner), np.float32(self.config.decay) ** age.astype(np.float32))
        return signal
