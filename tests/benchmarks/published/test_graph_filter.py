"""The graph filter against its definition in dense matrices."""

import dataclasses

import numpy as np
import pytest

from components.shared.tests.ragged_lists import ragged, rows_of
from tests.benchmarks.published.graph_filter import Graph, GraphFilter, GraphFilterConfig


@pytest.mark.parametrize(("powers", "recency"), [((0.5, 0.5), 1.0), ((0.5, 0.5), 0.2), ((0.3, 0.4), 0.2)])
def test_graph_filter_matches_its_dense_definition(powers, recency):
    rows = [[1, 2], [2, 3], [1, 2, 4], [4]]
    plain = GraphFilterConfig(name="x", low_pass=0.0, factors=3, decay=0.5, user_power=powers[0], item_power=powers[1],
                              recency=recency)  # fmt: skip
    graph = Graph(ragged(rows), 5, plain, seed=0, dated=True)
    incidence = np.zeros((4, 5))
    for user, row in enumerate(rows):
        incidence[user, row] = 1
    weight = np.array([recency, recency ** (2 / 3), recency ** (1 / 3), 1.0])[:, None]
    degree = (weight * incidence).sum(0)
    power = np.where(degree > 0, degree, 1) ** powers[1]
    normal = weight**0.5 * incidence / incidence.sum(1, keepdims=True) ** powers[0] / power
    normal /= np.linalg.svd(normal)[1][0]
    smooth = normal.T @ normal
    query = np.array([[0, 0, 0.5, 0, 1.0]])
    repeated = [row[::-1] + row[-1:] for row in rows]
    given = ragged(repeated)
    undated, level = (
        Graph(given, 5, dataclasses.replace(plain, factors=0, recency=one), seed=0) for one in (recency, 1.0)
    )
    assert np.array_equal(undated.normal.toarray(), level.normal.toarray()), "without dates no history is old"
    assert rows_of(given) == repeated, "what it is given stays as it is"
    queries = ragged([[2, 4]])
    linear = GraphFilter(plain, graph)(queries)
    assert np.allclose(linear.numpy(), query @ smooth, atol=1e-5)
    right = np.linalg.svd(normal)[2][:3]
    ideal = query / power @ right.T @ right * power
    both = dataclasses.replace(plain, low_pass=0.4, sharpening=0.1)
    expected = (query @ smooth + 0.4 * ideal) @ (np.eye(5) - 0.1 * smooth + 0.005 * smooth @ smooth)
    assert np.allclose(GraphFilter(both, graph)(queries).numpy(), expected, atol=3e-4)
