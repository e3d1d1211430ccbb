"""Every input of the user tower against a slow reference in plain Python, on made-up histories."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.features.ragged import Ragged
from components.shared.features.shopper import event_weights, item_interest, shopper_features
from components.shared.schema.tables import DEFAULT_EVENT_WEIGHTS, EVENT_TYPES

DAY = 86_400
EVENT = st.tuples(st.integers(1, 8), st.sampled_from(EVENT_TYPES), st.integers(1, 90 * DAY))
"""(item, event type, seconds before now)."""
HISTORIES = st.lists(st.lists(EVENT, max_size=10).map(lambda row: sorted(row, key=lambda event: -event[2])), max_size=4)


def weight(event: tuple[int, str, int], half_life_days: float = 30.0) -> float:
    return DEFAULT_EVENT_WEIGHTS[event[1]] * 0.5 ** (event[2] / DAY / half_life_days)


def lists(found: Ragged) -> list[list[tuple[int, float]]]:
    edges, pairs = found.offsets.tolist(), list(zip(found.values.tolist(), found.weights.tolist(), strict=True))
    return [pairs[start:end] for start, end in itertools.pairwise(edges)]


def shares(pairs: list[tuple[int, float]]) -> list[tuple[int, float]]:
    total = sum(weight for _, weight in pairs)
    return [(value, pytest.approx(weight / total, rel=1e-5)) for value, weight in pairs]


def ranked(row, values_of, length: int) -> list[tuple[int, float]]:
    """Return the attribute values with the highest summed weights."""
    sums: dict[int, float] = {}
    for event in row:
        for value in values_of(event[0]):
            if value and weight(event):
                sums[value] = sums.get(value, 0.0) + weight(event)
    return sorted(sums.items(), key=lambda pair: (-pair[1], pair[0]))[:length]


def assert_same_shares(
    found: list[tuple[int, float]], expected: list[tuple[int, float]], everything: dict[int, float]
) -> None:
    """Assert equality up to the order of ties: weights match by position, and every value has its own weight."""
    total = sum(weight for _, weight in expected)
    assert [weight for _, weight in found] == pytest.approx([weight / total for _, weight in expected], rel=1e-5)
    for value, share in found:
        assert share == pytest.approx(everything[value] / total, rel=1e-5)


@given(HISTORIES)
def test_sequence_is_the_newest_weighted_events_newest_first(shop, histories_of, rows):
    found = lists(shopper_features(histories_of(rows), shop.catalog(), shop.spec())["sequence"])
    for row, got in zip(rows, found, strict=True):
        kept = [event for event in row[-shop.interest_history :] if weight(event)][::-1][: shop.sequence_length]
        row_of = [event[0] if event[0] <= shop.known_items else 0 for event in kept]
        assert got == shares(list(zip(row_of, map(weight, kept), strict=True)))


@pytest.mark.parametrize("name", ["interest_category", "interest_brand"])
@given(rows=HISTORIES)
def test_interests_are_the_strongest_attributes_as_shares(shop, histories_of, name, rows):
    def values_of(item: int) -> tuple[int, ...]:
        return shop.categories[item] if name == "interest_category" else (shop.brands[item],)

    found = lists(shopper_features(histories_of(rows), shop.catalog(), shop.spec())[name])
    for row, got in zip(rows, found, strict=True):
        recent = row[-shop.interest_history :]
        assert_same_shares(got, ranked(recent, values_of, shop.interest_length), dict(ranked(recent, values_of, 99)))


@given(HISTORIES)
def test_item_interest_sums_the_decayed_weights_of_every_touched_item(shop, histories_of, rows):
    row_of, item, sums = item_interest(histories_of(rows), shop.spec())
    expected: dict[tuple[int, int], float] = {}
    for position, row in enumerate(rows):
        for event in row:
            expected[position, event[0]] = expected.get((position, event[0]), 0.0) + weight(event)
    found = dict(zip(zip(row_of.tolist(), item.tolist(), strict=True), sums.tolist(), strict=True))
    assert found == pytest.approx(expected)


def test_an_event_counts_half_after_the_half_life(shop, histories_of):
    histories = histories_of([[(1, "purchase", 60 * DAY), (1, "purchase", 30 * DAY), (1, "view", 30 * DAY)]])
    assert event_weights(histories, shop.spec()).tolist() == pytest.approx([0.25, 0.5, 0.25])
    slower = dataclasses.replace(shop.spec(), half_life_days=60.0)
    assert event_weights(histories, slower)[0] == pytest.approx(0.5)


def test_impressions_do_not_contribute_to_features(shop, histories_of):
    features = shopper_features(histories_of([[(1, "impression", 5)], []], users=[3, 0]), shop.catalog(), shop.spec())
    assert features["user"].values.tolist() == [3, 0]
    for name in ("sequence", "interest_category", "interest_brand", "query"):
        assert features[name].lengths.tolist() == [0, 0], name


def test_query_is_passed_through_unchanged(shop, histories_of):
    query = Ragged.mean(np.array([0, 2]), np.array([4, 9]))
    features = shopper_features(histories_of([[]]), shop.catalog(), shop.spec(), query)
    assert features["query"] is query
    assert list(features) == [feature.name for feature in shop.spec().user_features]
