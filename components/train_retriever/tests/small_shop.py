"""A small shop with content vectors whose shoppers buy by taste, cheap enough for a full softmax over its items."""

import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.build_features.build import build
from components.build_features.config import FeatureOptions
from components.shared.schema.tables import EVENTS, ITEMS

TASTES, ITEMS_OF_A_TASTE, SHOPPERS, DAYS = 12, 25, 150, 90
START = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)


def write_features(folder: Path) -> Path:
    """Write the output of build_features; each shopper buys from two tastes, mostly their first items."""
    random = np.random.default_rng(5)
    items = [
        {"item_id": f"i{number}", "title": f"thing {'abcdefgh'[number % 8] * 3}", "brand": f"brand-{number % 7}",
         "categories": [f"taste-{number % TASTES}"], "price": 1.0 + number % 29,
         "content_vector": random.standard_normal(4).tolist()}
        for number in range(TASTES * ITEMS_OF_A_TASTE)
    ]  # fmt: skip
    share = 1.0 / np.arange(3, 3 + ITEMS_OF_A_TASTE)
    events = []
    for shopper in range(SHOPPERS):
        likes = ((shopper + np.array([0, 1 + shopper % 3])) % TASTES).tolist()
        for day in range(shopper % 5, DAYS, 5):
            time = START + datetime.timedelta(days=day, seconds=shopper)
            for taste in likes:
                position = int(random.choice(ITEMS_OF_A_TASTE, p=share / share.sum()))
                item = items[position * TASTES + taste]["item_id"]
                events.append({"user_id": f"u{shopper}", "item_id": item, "event_type": "purchase",
                               "timestamp": time})  # fmt: skip
    for name, rows, schema in (("events", events, EVENTS), ("items", items, ITEMS)):
        (folder / name).mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows, schema), folder / name / "part-0.parquet")
    config = FeatureOptions().replace(horizon_days=7)
    build(folder / "events", folder / "items", folder / "features", config)
    return folder / "features"
