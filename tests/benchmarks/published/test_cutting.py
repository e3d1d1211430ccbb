"""A shop's events become data sets that the benchmark reads; later items do not leak into the earlier parts."""

import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.errors import DataError, InputError
from components.shared.schema.tables import EVENTS, ITEMS
from tests.benchmarks.published.cutting import CuttingConfig, cut, k_core, main
from tests.benchmarks.published.layouts import read_layout

START = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
WALKS = {f"u{user}": [f"i{(user + step) % 12}" for step in range(4 + user % 5)] for user in range(30)}
"""Items of each shopper in order of their first purchase."""


@pytest.fixture
def shop(tmp_path) -> tuple[Path, Path]:
    """Events, shuffled, with repeated purchases, views and a search; items, one of them without a title."""
    events = []
    for user, walk in WALKS.items():
        for step, item in enumerate(walk):
            for again in range(2):
                timestamp = START + datetime.timedelta(days=step + 100 * again)
                events.append({"user_id": user, "item_id": item, "event_type": "purchase", "timestamp": timestamp})
        events.append({"user_id": user, "item_id": "i99", "event_type": "view", "timestamp": START})
        events.append({"user_id": user, "query": "milk", "event_type": "search", "timestamp": START})
    np.random.default_rng(0).shuffle(events)
    items = [{"item_id": f"i{number}", "title": f"Oat milk {number}" if number else None} for number in range(12)]
    for name, rows, schema in (("events/date=2025-01-01", events, EVENTS), ("items", items, ITEMS)):
        (tmp_path / name).mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / name / "part-0.parquet")
    return tmp_path / "events", tmp_path / "items"


def test_last_item_is_the_test_and_the_second_last_the_validation(shop, tmp_path):
    assert cut(*shop, tmp_path / "cut", CuttingConfig(layout="leave_one_out", least=4)) == {
        "shoppers": 30, "items": 12, "interactions": sum(map(len, WALKS.values())),
    }  # fmt: skip
    layout = read_layout(tmp_path / "cut")
    ids = ["", *sorted({item for walk in WALKS.values() for item in walk})]
    walks = [WALKS[user] for user in sorted(WALKS)]
    for problem, target in ((layout.validation, -2), (layout.test, -1)):
        for at, walk in enumerate(walks):
            history, wanted = (part.take(np.array([at])).values for part in (problem.queries, problem.relevant))
            assert [ids[item] for item in history] == walk[:target] and [ids[item] for item in wanted] == [walk[target]]
    assert layout.kind == "leave_one_out"
    # Row 0 is not an item; i0 has no title and therefore no attributes.
    assert layout.features.bags["attributes"].lengths.tolist() == [0, *(3 * (name != "i0") for name in ids[1:])]


def test_items_without_titles_have_no_attributes(shop, tmp_path):
    events, items = shop
    for path in items.iterdir():
        path.unlink()
    pq.write_table(pa.Table.from_pylist([{"item_id": "i1"}], ITEMS), items / "part-0.parquet")
    cut(events, items, tmp_path / "cut", CuttingConfig(layout="leave_one_out", least=4))
    assert not read_layout(tmp_path / "cut").bags


def test_sets_are_split_reproducibly_into_train_and_a_share_of_test(shop, tmp_path):
    config = CuttingConfig(layout="sets", least=4, share=0.3)
    cut(*shop, tmp_path / "cut", config)
    layout = read_layout(tmp_path / "cut")
    assert layout.kind == "sets"
    total = sum(map(len, WALKS.values()))
    test_items = len(layout.test.relevant.values)
    assert 0.15 * total < test_items < 0.45 * total and len(layout.test.train.values) + test_items <= total
    cut(*shop, tmp_path / "again", config)
    for name in ("train.parquet", "test.parquet"):
        assert pq.read_table(tmp_path / "cut" / name) == pq.read_table(tmp_path / "again" / name)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=40, unique=True), st.integers(1, 4))
def test_k_core_is_the_largest_part_with_enough_interactions(pairs, least):
    users, items = np.array(pairs, np.int64).reshape(-1, 2).T
    kept = {(int(user), int(item)) for user, item in zip(*k_core(users, items, least), strict=True)}
    left = set(pairs)
    while True:
        few = {pair for pair in left for side in (0, 1) if sum(other[side] == pair[side] for other in left) < least}
        if not few:
            break
        left.remove(min(few))  # one at a time: the order in which they go does not matter
    assert kept == left


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layout": "rings"}, "layout is 'rings'"), ({"event": "wish"}, "event is 'wish'"),
        ({"least": 2}, "least is 2"), ({"share": 1.0}, "share is 1.0"),
    ],
)  # fmt: skip
def test_invalid_settings_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        CuttingConfig(**{"layout": "leave_one_out", **changes})


def test_missing_data_is_refused_and_leaves_no_output(shop, tmp_path):
    arguments = ["--events", str(shop[0]), "--items", str(shop[1]), "--out", str(tmp_path / "cut"), "--layout", "sets"]
    with pytest.raises(DataError, match="no shoppers and items with 50"):
        main([*arguments, "--least", "50"])
    with pytest.raises(InputError, match="holds no Parquet files"):
        main([*arguments, "--items", str(tmp_path / "nowhere")])
    assert not (tmp_path / "cut").exists()
    (tmp_path / "cut").mkdir()
    with pytest.raises(InputError, match="exists"):
        main(arguments)


def test_command_prints_a_summary_of_its_output(shop, tmp_path, capsys):
    main(["--events", str(shop[0]), "--items", str(shop[1]), "--out", str(tmp_path / "cut"), "--layout",
          "leave_one_out", "--least", "4"])  # fmt: skip
    assert f"{tmp_path / 'cut'}: 30 shoppers, 12 items" in capsys.readouterr().out
