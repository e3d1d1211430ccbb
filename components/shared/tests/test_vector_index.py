"""The vector index against explicit scores; graph against flat scan; masks."""

import gc

import numpy as np
import pytest

from components.shared.recommender.vector_index import VectorIndex

ITEMS, DIM, USERS = 2_000, 16, 40


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(7)
    return tuple(
        random.normal(size=size).astype(np.float32) for size in ((ITEMS, DIM), (ITEMS,), (USERS, DIM))
    )  # fmt: skip


def exact_top(data, count: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    vectors, bias, users = data
    scores = users @ vectors.T + bias
    if allowed is not None:
        scores = np.where(allowed, scores, -np.inf)
    rows = np.argsort(-scores, 1, kind="stable")[:, :count]
    return rows, np.take_along_axis(scores, rows, 1)


@pytest.mark.parametrize("masked", ["nothing", "most", "few", "the best"])
def test_flat_scan_is_exact(data, masked):
    """Whether the mask is given to faiss or what it leaves out is searched too, the result is the same."""
    drawn = np.random.default_rng(1).random(ITEMS)
    allowed = {"nothing": None, "most": drawn < 0.1, "few": drawn < 0.9, "the best": np.ones(ITEMS, bool)}[masked]
    if masked == "the best":
        allowed[np.argsort(-data[1])[:400]] = False
    index = VectorIndex.build(data[0], data[1])
    gc.collect()
    rows, scores = index.search(data[2], 20, allowed)
    expected_rows, expected_scores = exact_top(data, 20, allowed)
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-5, atol=1e-5)
    assert (rows == expected_rows).mean() > 0.999


@pytest.mark.parametrize("masked", [False, True])
def test_graph_finds_nearly_all_of_the_best(data, masked):
    allowed = np.arange(ITEMS) % 2 == 0 if masked else None
    index = VectorIndex.build(data[0], data[1], exact_up_to=100)
    rows, scores = index.search(data[2], 20, allowed)
    expected, _ = exact_top(data, 20, allowed)
    overlap = np.mean([len(set(a) & set(b)) / 20 for a, b in zip(rows.tolist(), expected.tolist(), strict=True)])
    assert overlap > 0.95
    exact = np.take_along_axis(data[2] @ data[0].T + data[1], rows, 1)
    np.testing.assert_allclose(scores, exact, rtol=1e-4, atol=1e-4)
    if allowed is not None:
        assert allowed[rows].all()


def test_recall_is_the_share_of_the_best_that_a_search_finds(data):
    """Widely spread biases reduce the recall of a graph."""
    vectors, bias, users = data
    assert VectorIndex.build(vectors, bias).recall(users, 20) == 1.0
    for spread in (1.0, 20.0):
        graph = VectorIndex.build(vectors, spread * bias, exact_up_to=100)
        assert not graph.exact
        expected, _ = exact_top((vectors, spread * bias, users), 100)
        rows, _ = graph.search(users, 100)
        overlap = np.mean([len(set(a) & set(b)) / 100 for a, b in zip(rows.tolist(), expected.tolist(), strict=True)])
        assert graph.recall(users, 100) == pytest.approx(overlap, abs=0.002)
    assert overlap < 0.95


@pytest.mark.parametrize("exact_up_to", [0, 10_000])
def test_empty_positions_are_row_zero(data, exact_up_to):
    allowed = np.zeros(ITEMS, bool)
    allowed[[5, 9]] = True
    rows, scores = VectorIndex.build(data[0], data[1], exact_up_to).search(data[2], 6, allowed)
    assert rows.shape == scores.shape == (USERS, 6)
    if exact_up_to:
        assert {tuple(sorted(row)) for row in rows.tolist()} == {(0, 0, 0, 0, 5, 9)}
    assert set(rows.ravel().tolist()) <= {0, 5, 9}


def test_count_above_the_number_of_items_returns_all(data):
    rows, _ = VectorIndex.build(data[0][:7], data[1][:7]).search(data[2], 50)
    assert rows.shape == (USERS, 7) and set(rows[0].tolist()) == set(range(7))


@pytest.mark.parametrize("exact_up_to", [0, 10_000])
def test_loaded_index_returns_the_same_results(data, tmp_path, exact_up_to):
    index = VectorIndex.build(data[0], data[1], exact_up_to)
    index.save(tmp_path / "index.faiss")
    loaded = VectorIndex.load(tmp_path / "index.faiss")
    allowed = np.arange(ITEMS) % 3 > 0
    for mask in (None, allowed):
        for one, other in zip(index.search(data[2], 10, mask), loaded.search(data[2], 10, mask), strict=True):
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(loaded.vectors(np.array([3, 0, 3])), np.c_[data[0], data[1]][[3, 0, 3]])
