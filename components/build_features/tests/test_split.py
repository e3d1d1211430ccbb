"""The split by time: events at or after a reference time do not affect anything before it."""

import datetime
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from components.build_features.build import FEATURE_COLUMNS
from components.build_features.leakage import check_leakage
from components.shared.errors import DataError
from components.shared.schema.tables import EVENT_TYPES

FEATURES = [column for name in FEATURE_COLUMNS for column in (name, f"{name}_weight")]


def randomize_future(shop, start: int):
    """Randomize events from a time on: items, kinds, prices, queries and times. The last purchase stays."""
    random = np.random.default_rng(11)
    shop.events.sort(key=lambda event: event["timestamp"])
    end = max(event["timestamp"] for event in shop.events if event["event_type"] == "purchase")
    items, users = [item["item_id"] for item in shop.items], sorted({event["user_id"] for event in shop.events})
    for event in shop.events:
        when = event["timestamp"].timestamp()
        if when < start or event["timestamp"] == end:
            continue
        event.update(
            item_id=str(random.choice(items)), user_id=str(random.choice(users)),
            event_type=str(random.choice(EVENT_TYPES)), price=float(random.random() * 1e4), quantity=99.0,
            query="oat milk" if random.random() < 0.5 else None,
            timestamp=datetime.datetime.fromtimestamp(
                start + random.random() * (end.timestamp() - start), datetime.UTC
            ),
        )  # fmt: skip
    return shop


@pytest.fixture(params=["ranker-0", "ranker-1", "validation", "test"])
def split_time(request, built) -> tuple[str, int]:
    return request.param, built.timeline.reference_times()[request.param]


def test_future_events_change_nothing_before_them(split_time, built, shop, built_from):
    name, when = split_time
    other = built_from(randomize_future(shop, when))
    assert other.timeline == built.timeline, "the shaking must leave the windows where they are"
    assert not other.rows("test").equals(built.rows("test")), "the shaking must be felt somewhere"

    # For every split, rows, vocabularies, prices and the spec use no data after `retriever_end`.
    assert other.rows("retriever").equals(built.rows("retriever"))
    assert (other.folder / "spec.json").read_bytes() == (built.folder / "spec.json").read_bytes()
    assert other.users[: built.store.known_users + 1] == built.users[: built.store.known_users + 1]
    for vocabulary in ("category", "brand", "token"):
        assert other.vocabulary(vocabulary) == built.vocabulary(vocabulary)
    tables = [pq.read_table(one.folder / "items.parquet").drop(["list_price"]) for one in (built, other)]
    assert tables[0].equals(tables[1])

    # What is known at the time of this split and of earlier ones is the same.
    earlier = [split for split, at in built.timeline.reference_times().items() if at <= when]
    assert name in earlier
    for split in earlier:
        one, two = (np.load(found.folder / "statistics" / f"{split}.npy") for found in (built, other))
        np.testing.assert_array_equal(one, two)
        rows, others = built.rows(split), other.rows(split)
        both = sorted(set(rows["shopper"].to_pylist()) & set(others["shopper"].to_pylist()))
        assert len(both) > 3
        if split == name:
            rows, others = (table.filter(pc.is_in(table["shopper"], pa.array(both, pa.int32())))
                            for table in (rows, others))  # fmt: skip
            assert rows.select([*FEATURES, "last_event_at"]).equals(others.select([*FEATURES, "last_event_at"]))
        elif built.timeline.reference_times()[split] + built.timeline.horizon <= when:
            assert rows.equals(others), "an earlier split with its labels lies wholly before"
    everyone = np.arange(len(built.users))
    histories = [found.store.before(everyone, np.full(len(everyone), when), 999) for found in (built, other)]
    for column in ("offsets", "item", "event_type", "timestamp", "price"):
        np.testing.assert_array_equal(*(getattr(found, column) for found in histories), err_msg=column)


def test_every_split_lies_in_its_window(shop, built):
    timeline, horizon = built.timeline, built.timeline.horizon
    names = built.catalog.item_id.to_pylist()
    for split, at in timeline.reference_times().items():
        rows = built.rows(split)
        assert rows["timestamp"].unique().to_pylist() == [at]
        expected: dict[str, set[str]] = {}
        for event in shop.events:
            if event["event_type"] == "purchase" and at <= int(event["timestamp"].timestamp()) < at + horizon:
                expected.setdefault(event["user_id"], set()).add(event["item_id"])
        found = {
            built.users[shopper]: {names[item] for item in targets}
            for shopper, targets in zip(rows["shopper"].to_pylist(), rows["targets"].to_pylist(), strict=True)
        }
        assert found == expected
    assert max(built.rows("retriever")["timestamp"].to_pylist()) < timeline.retriever_end == timeline.ranker[0]
    assert timeline.ranker[-1] + horizon == timeline.validation and timeline.validation + horizon == timeline.test
    assert timeline.test + horizon == timeline.end == built.spec.as_of


def test_retriever_rows_are_visits_and_searches(shop, built):
    end = built.timeline.retriever_end
    visits: dict[tuple[str, str], set[str]] = {}
    searches = []
    for event in shop.events:
        if int(event["timestamp"].timestamp()) >= end:
            continue
        if event["event_type"] == "purchase":
            visits.setdefault((event["user_id"], event["session_id"]), set()).add(event["item_id"])
        if event.get("query"):
            searches.append(event["query"])
    rows = built.rows("retriever")
    lengths = pc.list_value_length(rows["query"]).to_pylist()
    assert rows.num_rows == len(visits) + len(searches) == built.summary.rows["retriever"]
    assert sum(length > 0 for length in lengths) == len(searches)
    queries = {tuple(ids) for ids in rows["query"].to_pylist() if ids}
    token = built.vocabulary("token").index
    assert queries == {(token("milk"),), (token("牛"), token("奶"), token("牛奶")), (token("bread"),), (0, 0)}
    assert {len(targets) for targets, length in zip(rows["targets"].to_pylist(), lengths, strict=True) if length} == {1}


@pytest.fixture
def tampered(built, tmp_path):
    """Change one value of one split of a copied folder."""

    def run(split: str, column: str, value: int):
        shutil.copytree(built.folder, tmp_path / "copy")
        path = tmp_path / "copy" / "rows" / f"{split}.parquet"
        table = pq.read_table(path)
        values = table[column].to_pylist()
        values[2] = value
        at = table.schema.get_field_index(column)
        pq.write_table(
            table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type)), path
        )
        return tmp_path / "copy"

    return run


def test_the_leakage_check_counts_every_row(built):
    assert check_leakage(built.folder, built.timeline) == sum(built.summary.rows.values())
    assert built.summary.leakage_checked == sum(built.summary.rows.values())


@pytest.mark.parametrize("split", ["retriever", "ranker-0", "validation", "test"])
def test_a_row_that_saw_its_own_label_is_refused(tampered, built, split):
    label = built.rows(split)["timestamp"][2].as_py()
    with pytest.raises(DataError, match=f"{split}: 1 of .* rows use events at or after"):
        check_leakage(tampered(split, "last_event_at", label), built.timeline)


@pytest.mark.parametrize(("split", "shift"), [("retriever", 10**7), ("test", -1), ("validation", 1)])
def test_a_row_outside_its_window_is_refused(tampered, built, split, shift):
    timestamp = built.rows(split)["timestamp"][2].as_py() + shift
    with pytest.raises(DataError, match=f"{split}: 1 of .* rows are outside"):
        check_leakage(tampered(split, "timestamp", timestamp), built.timeline)


def test_fractions_of_a_second_are_truncated_consistently(shop, built, built_from):
    for event in shop.events:
        event["timestamp"] += datetime.timedelta(milliseconds=700)
    found = built_from(shop)
    assert found.timeline == built.timeline
    for split in ("retriever", "test"):
        assert found.rows(split).equals(built.rows(split))


def test_building_twice_gives_the_same_files(built, shop, built_from):
    again = built_from(shop)
    for path in sorted(built.folder.rglob("*")):
        if path.suffix in {".npy", ".json"}:
            assert path.read_bytes() == (again.folder / path.relative_to(built.folder)).read_bytes(), path.name
        elif path.suffix == ".parquet":
            assert pq.read_table(path).equals(pq.read_table(again.folder / path.relative_to(built.folder))), path.name
    assert json.loads((again.folder / "cleaning.json").read_text()) == built.summary.cleaning
    assert {path.name for path in again.folder.iterdir()} == {
        "spec.json", "timeline.json", "cleaning.json", "items.parquet", "users.parquet", "category.parquet",
        "brand.parquet", "token.parquet", "queries.parquet", "history", "statistics", "neighbours", "rows",
    }  # fmt: skip
