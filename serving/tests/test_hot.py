"""Hot candidates: trending items reach the answer with a reason, or can be turned off; older bundles still serve."""

import numpy as np
import pytest

from components.shared.errors import BundleError
from components.shared.features.columns import ItemStatistic
from components.shared.recommender.candidates import CandidateConfig, Source, hot_items, hot_order
from components.shared.recommender.recommender import Recommender
from serving.engine import Engine
from serving.protocol import parse_instance
from serving.tests.handmade import ITEMS, write_compiled

SURGE = 1 + [item[0] for item in ITEMS].index("snack30")
GONE = 1 + [item[0] for item in ITEMS].index("gone")
NOTHING_ELSE = {"own": 0, "retrieved": 1, "popular": 1, "similar": 0}


def statistics() -> np.ndarray:
    """snack30 and an unavailable item sold a lot today, which the windowed counts do not show."""
    table = np.zeros((len(ITEMS) + 1, len(ItemStatistic)), np.float32)
    oat = {ItemStatistic.POPULARITY_SHORT: 12, ItemStatistic.POPULARITY_MIDDLE: 60, ItemStatistic.POPULARITY_LONG: 170,
           ItemStatistic.BUYERS: 40, ItemStatistic.REPEAT_RATE: 0.6, ItemStatistic.DISCOVERY_SHORT: 2,
           ItemStatistic.DISCOVERY_MIDDLE: 8}  # fmt: skip
    table[1, list(oat)] = list(oat.values())
    table[[1, 2, SURGE, GONE], ItemStatistic.POPULARITY_DECAYED] = [3.0, 1.5, 80.0, 80.0]
    return table


@pytest.fixture
def shop(tmp_path):
    """A function that opens the handmade shop with the given number of hot candidates."""
    folder = write_compiled(tmp_path / "compiled")
    np.save(folder / "statistics.npy", statistics())
    return lambda hot: Recommender.open(folder, config=CandidateConfig(**NOTHING_ELSE, hot=hot))


def test_hot_order_is_by_decayed_popularity_of_sold_items():
    order = hot_order(statistics())
    assert order.tolist() == [GONE, SURGE, 1, 2]
    allowed = np.ones(len(ITEMS) + 1, bool)
    allowed[GONE] = False
    row, item, source = hot_items(order, 2, 2, allowed)
    assert (row.tolist(), item.tolist(), source) == ([0, 0, 1, 1], [SURGE, 1, SURGE, 1], Source.HOT)
    assert hot_items(order, 3, 10, None)[1].tolist() == [GONE, SURGE, 1, 2] * 3


def test_trending_item_reaches_a_new_shopper_with_its_reason(shop):
    engine = Engine(shop(2), "hot", "bundle")
    answer = engine.explain([parse_instance({"user_id": "nobody", "k": 40})], ["test"])[0]
    found = {item["item_id"]: item for item in answer["items"]}
    assert "hot" in found["snack30"]["sources"] and "trending now" in found["snack30"]["reasons"]
    assert "trending now" not in found["oat"]["reasons"], "hot, but by far less than the best"
    assert "gone" not in found
    without = Engine(shop(0), "cold", "bundle").explain([parse_instance({"user_id": "nobody", "k": 40})], ["test"])[0]
    assert next(item for item in without["items"] if item["item_id"] == "snack30")["sources"] == []


def test_statistics_of_an_earlier_release_serve_without_hot_candidates(tmp_path):
    folder = write_compiled(tmp_path / "compiled")
    table = np.load(folder / "statistics.npy")[:, : ItemStatistic.POPULARITY_DECAYED]
    np.save(folder / "statistics.npy", table)
    assert Recommender.open(folder, config=CandidateConfig()).statistics.shape[1] == 7
    with pytest.raises(BundleError, match="item statistics have 7 columns") as caught:
        Recommender.open(folder, config=CandidateConfig(hot=1))
    assert "'hot' to 0" in caught.value.fix
