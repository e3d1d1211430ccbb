"""A synthetic shop of a few hundred events, English and Chinese, that tests may modify before building it."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.build_features.build import FeatureSummary, build
from components.build_features.config import FeatureOptions
from components.shared.features.catalog import Catalog
from components.shared.features.history import HistoryStore
from components.shared.features.spec import FeatureSpec
from components.shared.schema.tables import EVENTS, ITEMS
from components.shared.schema.timeline import Timeline

START = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
TITLES = ("Whole Milk", "Oat Milk", "燕麦奶", "全脂牛奶", "Brown Bread", "White Bread", "", "苹果 Apple")


@dataclass
class Shop:
    """Rows in the data contract's columns; missing keys are null."""

    events: list[dict]
    items: list[dict]

    def write(self, folder: Path) -> tuple[Path, Path]:
        for name, rows, schema in (("events", self.events, EVENTS), ("items", self.items, ITEMS)):
            (folder / name).mkdir(parents=True)
            table = pa.Table.from_pylist(rows, schema)
            pq.write_table(table.slice(0, len(rows) // 2), folder / name / "part-0.parquet")
            pq.write_table(table.slice(len(rows) // 2), folder / name / "part-1.parquet")
        return folder / "events", folder / "items"


def synthetic_shop(users: int = 12, items: int = 40, days: int = 60, seed: int = 5) -> Shop:
    """Shoppers who visit every few days to view, search and buy; each has favourites."""
    random = np.random.default_rng(seed)
    catalog = [
        {"item_id": f"i{number:02}", "title": TITLES[number % len(TITLES)] or None, "brand": f"brand {number % 5}",
         "categories": ["food", f"aisle {number % 4}", f"shelf {number % 9}"][: 1 + number % 3]}
        for number in range(items)
    ]  # fmt: skip
    events = []
    for user in range(users):
        favourites = random.integers(0, items, 8)
        for day in range(int(random.integers(0, 3)), days, int(random.integers(2, 4))):
            visit = {"user_id": f"u{user:02}", "session_id": f"s{user}-{day}"}
            time = START + datetime.timedelta(days=day, seconds=int(random.integers(0, 80_000)))
            for position, item in enumerate(random.choice(favourites, 3, replace=False).tolist()):
                time += datetime.timedelta(seconds=int(random.integers(1, 300)))
                bought = {
                    **visit,
                    "item_id": f"i{item:02}",
                    "timestamp": time,
                    "price": 1.0 + item / 4,
                    "quantity": 1.0,
                }
                kind = ("search", "view", "purchase")[position] if random.random() < 0.5 else "purchase"
                query = (
                    {"query": str(random.choice(["milk", "牛奶", "Bread 🍞", "unheard of"]))}
                    if kind == "search"
                    else {}
                )
                events.append({**bought, "event_type": kind, **query})
    return Shop(events, catalog)


@dataclass(frozen=True)
class Built:
    """A feature folder with its parts opened."""

    folder: Path
    summary: FeatureSummary
    spec: FeatureSpec = field(init=False)
    timeline: Timeline = field(init=False)
    catalog: Catalog = field(init=False)
    store: HistoryStore = field(init=False)
    users: list[str] = field(init=False)

    def __post_init__(self):
        spec = FeatureSpec.read(self.folder / "spec.json")
        opened = {
            "spec": spec, "timeline": Timeline.read(self.folder / "timeline.json"),
            "catalog": Catalog.read(self.folder / "items.parquet", spec),
            "store": HistoryStore.open(self.folder / "history", spec.user("user").rows - 1),
            "users": ["", *pq.read_table(self.folder / "users.parquet")["user_id"].to_pylist()],
        }  # fmt: skip
        for name, value in opened.items():
            object.__setattr__(self, name, value)

    def rows(self, split: str) -> pa.Table:
        return pq.read_table(self.folder / "rows" / f"{split}.parquet")

    def vocabulary(self, name: str) -> list[str]:
        return ["", *pq.read_table(self.folder / f"{name}.parquet")["value"].to_pylist()]


def build_in(folder: Path, shop: Shop, **changes) -> Built:
    """Build a shop; the default horizon is five days."""
    config = FeatureOptions(horizon_days=5.0).replace(**changes)
    return Built(folder / "features", build(*shop.write(folder), folder / "features", config))


@pytest.fixture
def shop() -> Shop:
    """A new shop for each test, which may modify it."""
    return synthetic_shop()


@pytest.fixture(scope="session")
def make_shop() -> Callable[..., Shop]:
    return synthetic_shop


@pytest.fixture
def built_from(tmp_path) -> Callable[..., Built]:
    """Build a shop in its own folder."""
    numbers = iter(range(100))
    return lambda shop, **changes: build_in(tmp_path / str(next(numbers)), shop, **changes)


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Built:
    """The unmodified shop, built once."""
    return build_in(tmp_path_factory.mktemp("shop"), synthetic_shop())
