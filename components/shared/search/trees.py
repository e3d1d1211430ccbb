"""Regression trees of a relevance model, evaluated with numpy alone: serving needs no library that trains them.

Source: Lucchese et al., QuickScorer: A Fast Algorithm to Rank Documents with Additive Ensembles of Regression Trees
(SIGIR 2015).
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Tree = float | tuple[str, float, "Tree", "Tree"]
"""A leaf's value; or feature, threshold, the tree of values up to the threshold, and that of values above it."""

MAX_LEAVES = 8
"""Leaves of a tree: the bits of a byte."""
_ALL = 2**MAX_LEAVES - 1


def parsed_tree(value: Any, features: Sequence[str]) -> Tree:
    """A tree as JSON holds it, with lists for tuples.

    Raises:
        ValueError: it is no tree, has more than MAX_LEAVES leaves, an unknown feature, or a number that is not finite.
    """
    tree, leaves = _parsed(value, features, MAX_LEAVES)
    if leaves > MAX_LEAVES:
        raise ValueError(f"a tree has {leaves} leaves, more than {MAX_LEAVES}")
    return tree


def _parsed(value: Any, features: Sequence[str], depth: int) -> tuple[Tree, int]:
    if not isinstance(value, list | tuple):
        return _finite(value), 1
    if depth == 1:
        raise ValueError(f"a tree is deeper than {MAX_LEAVES} leaves can be")
    if len(value) != 4:
        raise ValueError("a branch has other than 4 parts: feature, threshold, and two trees")
    feature, threshold, low, high = value
    if feature not in features:
        raise ValueError(f"a tree asks for '{feature}', which this version does not know")
    (left, some), (right, more) = _parsed(low, features, depth - 1), _parsed(high, features, depth - 1)
    return (feature, _finite(threshold), left, right), some + more


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"'{str(value)[:80]}' in a tree is not a finite number")
    return float(value)


class TreeSum:
    """The sum of trees.

    A row's leaf is the first one, from the left, that no condition rules out. For each feature a table has, by the
    number of thresholds that a value exceeds, the leaves of every tree that are left, as bits.

    Args:
        trees: At least one.
        features: Names of the columns.
    """

    def __init__(self, trees: Sequence[Tree], features: Sequence[str]):
        rules: dict[str, list[tuple[float, int, int]]] = {name: [] for name in features}
        self._value = np.zeros((len(trees), _ALL + 1))
        for at, tree in enumerate(trees):
            leaves: list[float] = []
            _collect(tree, at, leaves, rules)
            first = [(left & -left).bit_length() - 1 for left in range(1, _ALL + 1)]
            self._value[at, 1:] = np.array(leaves)[np.minimum(first, len(leaves) - 1)]
        self._start = np.arange(len(trees)) * (_ALL + 1)
        self._tables: list[tuple[int, np.ndarray, np.ndarray]] = []
        for column, name in enumerate(features):
            if rules[name]:
                self._tables.append((column, *_table(sorted(rules[name]), len(trees))))

    def of(self, features: np.ndarray) -> np.ndarray:
        """Sums of rows, float64 [n], of float64 [n, features]."""
        left = np.full((len(features), len(self._start)), _ALL, np.uint8)
        for column, thresholds, table in self._tables:
            left &= table.take(thresholds.searchsorted(features[:, column]), 0)
        return self._value.ravel().take(left + self._start).sum(1)


def _collect(tree: Tree, at: int, leaves: list[float], rules: dict[str, list[tuple[float, int, int]]]) -> int:
    """Add the leaves and conditions of a tree; return the bits of its leaves."""
    if not isinstance(tree, tuple):
        leaves.append(tree)
        return 1 << (len(leaves) - 1)
    feature, threshold, low, high = tree
    lower = _collect(low, at, leaves, rules)
    rules[feature].append((threshold, at, _ALL ^ lower))
    return lower | _collect(high, at, leaves, rules)


def _table(rules: list[tuple[float, int, int]], trees: int) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds, ascending, and the leaves that are left by how many of them a value exceeds, uint8 [n + 1, trees]."""
    table = np.full((len(rules) + 1, trees), _ALL, np.uint8)
    for row, (_, tree, left) in enumerate(rules, 1):
        table[row, tree] = left
    return np.array([threshold for threshold, _, _ in rules]), np.bitwise_and.accumulate(table, 0)
