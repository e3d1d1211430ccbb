"""Item statistics compared with manual counts."""

import numpy as np
import pytest

from components.build_features.config import FeatureOptions
from components.shared.errors import InputError
from components.shared.features.columns import ItemStatistic
from components.shared.features.spec import DAY


def purchases(shop, before: int) -> list[tuple[str, str, int]]:
    """(user, item, epoch second) of every purchase before a time."""
    found = [
        (event["user_id"], event["item_id"], int(event["timestamp"].timestamp()))
        for event in shop.events
        if event["event_type"] == "purchase"
    ]
    return [event for event in found if event[2] < before]


@pytest.mark.parametrize("name", ["ranker-0", "test", "serving"])
def test_statistics_count_purchases_before_the_reference_time(shop, built, name):
    reference_time = {**built.timeline.reference_times(), "serving": built.timeline.end}[name]
    short, middle, long = FeatureOptions().popularity_days
    events = purchases(shop, reference_time)
    table = np.load(built.folder / "statistics" / f"{name}.npy")
    assert table.dtype == np.float32 and table.shape == (len(built.catalog), len(ItemStatistic))
    assert not table[0].any()
    first: dict[tuple[str, str], int] = {}
    for user, item, when in events:
        first[user, item] = min(when, first.get((user, item), when))
    for row in range(1, len(built.catalog)):
        of_item = [event for event in events if event[1] == built.catalog.item_id[row].as_py()]
        within = {
            days: [event for event in of_item if event[2] >= reference_time - days * DAY]
            for days in (short, middle, long)
        }
        days_of: dict[str, set[int]] = {}
        for user, _, when in within[long]:
            days_of.setdefault(user, set()).add(when // DAY)
        again = sum(len(days) > 1 for days in days_of.values())
        new = [when for (_, item), when in first.items() if of_item and item == of_item[0][1]]
        expected = {
            ItemStatistic.POPULARITY_SHORT: len(within[short]),
            ItemStatistic.POPULARITY_MIDDLE: len(within[middle]),
            ItemStatistic.POPULARITY_LONG: len(within[long]),
            ItemStatistic.BUYERS: len(days_of),
            ItemStatistic.REPEAT_RATE: again / len(days_of) if days_of else 0.0,
            ItemStatistic.DISCOVERY_SHORT: sum(when >= reference_time - short * DAY for when in new),
            ItemStatistic.DISCOVERY_MIDDLE: sum(when >= reference_time - middle * DAY for when in new),
            ItemStatistic.POPULARITY_DECAYED: sum(
                0.5 ** ((reference_time - when) / (7 * DAY)) for _, _, when in of_item
            ),
        }
        assert dict(zip(ItemStatistic, table[row].tolist(), strict=True)) == pytest.approx(expected, abs=1e-6)


def test_decayed_popularity_halves_with_the_stated_half_life(shop, built_from):
    built_shop = built_from(shop, popularity_half_life_days=2.0)
    assert built_shop.spec.popularity_half_life_days == 2.0
    found = np.load(built_shop.folder / "statistics" / "serving.npy")[:, ItemStatistic.POPULARITY_DECAYED]
    for row in range(1, len(built_shop.catalog)):
        ages = [built_shop.timeline.end - when for _, item, when in purchases(shop, built_shop.timeline.end)
                if item == built_shop.catalog.item_id[row].as_py()]  # fmt: skip
        assert found[row] == pytest.approx(sum(0.5 ** (age / (2 * DAY)) for age in ages), abs=1e-5)


@pytest.mark.parametrize("half_life", [0.0, -1.0])
def test_a_half_life_must_be_positive(half_life):
    with pytest.raises(InputError, match=r"features.popularity_half_life_days is"):
        FeatureOptions.read({"popularity_half_life_days": half_life}, "features")
