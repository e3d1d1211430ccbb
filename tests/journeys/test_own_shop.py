"""A shop of one's own after the demo, in the same folder: CSV files with other column names, a configuration file."""

import csv
import datetime
import json

import numpy as np
import pytest

from components.shared.release.registry import Registry
from tests.journeys.journey import Journey

pytestmark = pytest.mark.slow

TASTES, ITEMS, SHOPPERS, DAYS = 12, 300, 60, 120


def write_shop(folder):
    """Shoppers of two tastes each, who buy three of eight usual items at every visit, and often another one."""
    random, start = np.random.default_rng(5), datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    share = 1.0 / np.arange(3, 3 + ITEMS // TASTES)
    share /= share.sum()
    items = [(f"i{number}", f"thing {'abcdefgh'[number % 8] * 3} {number}") for number in range(ITEMS)]
    events = []
    for shopper in range(SHOPPERS):
        likes = np.array([shopper, shopper + 1 + shopper % 3]) % TASTES
        usual = random.choice(ITEMS // TASTES, 8, p=share) * TASTES + likes.repeat(4)
        for day in range(shopper % 4, DAYS, 4):
            timestamp = (start + datetime.timedelta(days=day, seconds=shopper)).isoformat()
            known = random.choice(usual, 3, replace=False)
            other = random.choice(ITEMS // TASTES, int(random.random() < 0.8), p=share) * TASTES + random.choice(likes)
            events += [(f"v{shopper}", f"i{item}", "buy", timestamp) for item in {*known.tolist(), *other.tolist()}]
    for name, head, rows in (("items", ("sku", "name"), items), ("events", ("visitor", "sku", "action", "at"), events)):
        with (folder / f"{name}.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([head, *rows])


def test_model_of_csv_files_replaces_the_champion_and_is_rolled_back(demo, tmp_path):
    write_shop(tmp_path)
    registry = Registry(demo.copy(tmp_path) / "registry")
    first = registry.aliases("shop")["champion"]
    with Journey("own shop", tmp_path) as journey:
        assert journey.write("README.md#your-own-shop:yaml").name == "shop.yaml"
        printed = journey.run("README.md#your-own-shop:sh")
        assert "0 rows rejected" in printed and "blessed and released" in printed
        run = sorted((tmp_path / "out/runs").iterdir())[-1]
        assert json.loads(next(run.rglob("metrics.json")).read_text())["champion"] is not None
        second = registry.aliases("shop")["champion"]
        assert second != first and registry.resolve("shop/champion").is_dir()
        assert first in journey.shell("shoprank rollback")
        assert registry.aliases("shop")["champion"] == first

        journey.shell(f"shoprank promote {second}")
        (tmp_path / "items-today.csv").write_text("sku,name\nnew-1,thing new 1\n", encoding="utf-8")
        refreshed = journey.shell("shoprank refresh items-today.csv --config shop.yaml")
        assert registry.aliases("shop")["previous"] == second, "its columns are those of the training"
        assert registry.aliases("shop")["champion"] in refreshed
