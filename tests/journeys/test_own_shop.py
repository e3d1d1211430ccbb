"""A shop of one's own: CSV files with columns of their own names, a configuration file, and a champion at the end."""

import csv
import datetime

import numpy as np
import pytest

from components.shared.release.registry import Registry
from tests.journeys.journey import Journey

pytestmark = pytest.mark.slow

TASTES, ITEMS, SHOPPERS, DAYS = 12, 300, 60, 120


def write_shop(folder):
    """Shoppers who buy what they bought before, and sometimes something new of the same two tastes."""
    random, start = np.random.default_rng(5), datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    with (folder / "items.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [("sku", "name"), *((f"i{n}", f"thing {'abcdefgh'[n % 8] * 3} {n}") for n in range(ITEMS))]
        )
    share = 1.0 / np.arange(3, 3 + ITEMS // TASTES)
    with (folder / "events.csv").open("w", newline="") as stream:
        write = csv.writer(stream)
        write.writerow(("visitor", "sku", "action", "at"))
        for shopper in range(SHOPPERS):
            liked = [(shopper + step) % TASTES for step in (0, 1 + shopper % 3)]
            usual = [
                int(random.choice(ITEMS // TASTES, p=share / share.sum())) * TASTES + t for t in liked for _ in range(4)
            ]
            for day in range(shopper % 4, DAYS, 4):
                moment = (start + datetime.timedelta(days=day, seconds=shopper)).isoformat()
                new = int(random.choice(ITEMS // TASTES, p=share / share.sum())) * TASTES + int(random.choice(liked))
                bought = [*random.choice(usual, 3, replace=False).tolist(), *([new] if random.random() < 0.5 else [])]
                write.writerows((f"v{shopper}", f"i{item}", "buy", moment) for item in bought)


def test_csv_files_become_a_champion(tmp_path):
    write_shop(tmp_path)
    with Journey("own shop", tmp_path) as journey:
        assert journey.write("README.md#your-own-shop:yaml").name == "shop.yaml"
        printed = journey.run("README.md#your-own-shop:sh")
        assert "0 rows rejected" in printed and "blessed and released" in printed
    assert Registry(tmp_path / "out/registry").resolve("shop/champion").is_dir()
