"""Rows that ingest accepts and rejects; none is lost between the two."""

import dataclasses
import gzip
import json
from datetime import UTC, datetime

import fsspec
import pyarrow as pa
import pyarrow.dataset as dataset
import pyarrow.parquet as pq
import pytest
from kfp.dsl import Dataset, Metrics

from components.ingest_events.component import ingest_events
from components.ingest_events.ingest import ingest
from components.ingest_events.tests.ingesting import (
    FOUNDING,
    FOUNDING_MAPPING,
    GOOD,
    HEADER,
    ingest_text,
    outputs_in,
    read,
    rejected,
)
from components.shared.schema.account import Lost
from components.shared.schema.tables import EVENTS, ITEMS, USERS, check_schema
from components.shared.version import VERSION


def test_csv_with_a_mapping_is_ingested_by_day(tmp_path):
    summary = ingest_text(tmp_path, FOUNDING, mapping=FOUNDING_MAPPING)
    assert (summary.events, summary.items, summary.users, summary.rejected_rows) == (6, 6, 2, 0)
    assert (summary.first, summary.last) == ("2021-01-01T10:00:00+00:00", "2021-01-02T10:10:00+00:00")
    out = tmp_path / "out"
    days = sorted(path.name for path in (out / "events").iterdir())
    assert days == ["date=2021-01-01", "date=2021-01-02"]
    assert all(p.name.startswith("part-") for p in (out / "events").rglob("*.parquet"))
    assert [(e["user_id"], e["item_id"], e["event_type"]) for e in read(out)] == [
        ("1", "1001", "search"),
        ("1", "1002", "view"),
        ("1", "1003", "purchase"),
        ("2", "1004", "search"),
        ("2", "1005", "view"),
        ("2", "1006", "purchase"),
    ]
    assert read(out)[0]["timestamp"] == datetime(2021, 1, 1, 10, tzinfo=UTC)
    assert [i["item_id"] for i in read(out, "items")] == ["1001", "1002", "1003", "1004", "1005", "1006"]
    assert all(i["available"] and i["title"] is None for i in read(out, "items"))


def test_outputs_match_the_data_contract(tmp_path):
    ingest_text(tmp_path, FOUNDING, mapping=FOUNDING_MAPPING)
    for table, schema in {"events": EVENTS, "items": ITEMS, "users": USERS}.items():
        found = dataset.dataset(tmp_path / "out" / table, partitioning="hive").schema
        check_schema(found, schema, table)


def test_complete_journey_tiny(tmp_path_factory):
    tmp_path, again = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("again")
    summary = ingest("complete-journey", outputs_in(tmp_path), size="tiny")
    assert ingest("complete-journey", outputs_in(again), size="tiny") == summary
    assert (summary.users, summary.items, summary.rejected_rows) == (60, 92_331, 0)
    check_schema(dataset.dataset(tmp_path / "events", partitioning="hive").schema, EVENTS, "events")
    ice = next(item for item in read(tmp_path, "items") if item["item_id"] == "25671")
    assert ice["title"] == "Ice crushed/cubed, 22 LB (National)"
    assert ice["categories"] == ["GROCERY", "FRZN ICE", "ICE - CRUSHED/CUBED"]
    assert ice["brand"] == "National 2"
    assert dict(ice["attributes"]) == {"package_size": "22 LB", "manufacturer_id": "2"}
    unnamed = next(item for item in read(tmp_path, "items") if item["item_id"] == "26081")
    assert (unnamed["title"], unnamed["categories"]) == ("Miscellaneous (National)", ["MISCELLANEOUS"])
    events = read(tmp_path)
    assert len(events) == summary.events
    assert {event["event_type"] for event in events} == {"purchase"}
    assert all((event["price"] is None) == (event["quantity"] == 0) for event in events)
    assert [e["timestamp"] for e in events] == sorted(e["timestamp"] for e in events)
    assert events == read(again)
    assert read(tmp_path, "users") == read(again, "users")


def test_invalid_utf8_rejects_only_its_own_line(tmp_path):
    text = (HEADER + GOOD).encode() + b"u1,\xff\xfe,view,2026-01-01,,,\n" + GOOD.encode()
    assert ingest_text(tmp_path, text).rejected["events"] == {"line is not UTF-8": 1}
    lines = b'{"user_id": "u", "item_id": "i", "event_type": "view", "timestamp": 1767261600}\n{"user_id": "\xff"}\n'
    summary = ingest_text(tmp_path, lines, "events.jsonl")
    assert (summary.events, summary.rejected["events"]) == (1, {"line is not UTF-8": 1})


def test_unclosed_quote_rejects_only_its_own_line_of_a_large_file(tmp_path):
    """The reason for having our own reader: other engines swallow every line up to the next quote."""
    text = HEADER + GOOD * 150_000 + 'u1,"i1,view,2026-01-01,,,\n' + GOOD * 150_000 + 'u2,"i,2",view,2026-01-01,,,\n'
    summary = ingest_text(tmp_path, text)
    assert (summary.events, summary.rejected["events"]) == (300_001, {"line is malformed": 1})


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_csv_dialects(tmp_path, newline, separator):
    text = ("\ufeff" + HEADER + GOOD + "\n" + GOOD).replace(",", separator).replace("\n", newline)
    assert ingest_text(tmp_path, text.removesuffix(newline)).events == 2


def test_quoted_csv_values_may_hold_separators_quotes_and_line_breaks(tmp_path):
    text = HEADER + 'u1,i1,search,2026-01-01,"red, ""big""\nshoes",,\n' + 'u1,i1,search,2026-01-01,5" pipe,,\n'
    assert ingest_text(tmp_path, text).events == 2
    assert [e["query"] for e in read(tmp_path / "out")] == ['red, "big"\nshoes', '5" pipe']


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-01-02 03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05+08:00", datetime(2026, 1, 1, 19, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.123Z", datetime(2026, 1, 2, 3, 4, 5, 123000, tzinfo=UTC)),
        ("2026-01-02", datetime(2026, 1, 2, tzinfo=UTC)),
        ("20260102", datetime(2026, 1, 2, tzinfo=UTC)),
        ("202601020304", datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
        ("20260102030405", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("1767323045", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("1767323045.5", datetime(2026, 1, 2, 3, 4, 5, 500000, tzinfo=UTC)),
        ("1767323045123", datetime(2026, 1, 2, 3, 4, 5, 123000, tzinfo=UTC)),
        ("1767323045123456", datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
    ],
)
def test_timestamp_formats(tmp_path, value, expected):
    ingest_text(tmp_path, HEADER + f"u,i,view,{value},,,\n")
    assert read(tmp_path / "out")[0]["timestamp"] == expected


def test_mapping_renames_values_and_sets_constants(tmp_path):
    text = "visitor,sku,what,when\nu1,i1,AddToCart,2026-01-01\nu1,i1,View,2026-01-01\n"
    mapping = {
        "events": {"user_id": "visitor", "item_id": "sku", "event_type": "what", "timestamp": "when"},
        "event_types": {"addtocart": "cart"},
        "constants": {"session_id": "s"},
    }
    ingest_text(tmp_path, text, mapping=mapping)
    assert [(e["event_type"], e["session_id"]) for e in read(tmp_path / "out")] == [("cart", "s"), ("view", "s")]


def test_items_and_users_from_separate_sources(tmp_path):
    catalog = tmp_path / "catalog.jsonl"
    lines = [
        {"sku": "1", "name": "before"},
        {"sku": 1, "name": "燕麦奶 🥛", "path": "Drinks > Milk", "cost": 2.5, "made": "2025-01-01", "colour": "white"},
        {"sku": 2, "path": ["Drinks", "Tea"], "cost": -1},
        {"sku": 3, "vector": [0.5, 1], "path": "A|B", "size": "L"},
        {"sku": 4, "vector": ["x"]},
    ]
    catalog.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    users = tmp_path / "users.csv"
    users.write_text('user_id,attributes\nu1,\nu1,"{""age"": 30}"\n,\n')
    mapping = {
        **FOUNDING_MAPPING,
        "items": {"item_id": "sku", "title": "name", "categories": "path", "price": "cost", "created_at": "made"},
        "items.attributes": ["colour", "size"],
        "items.content_vector": "vector",
    }
    options = {"mapping": mapping, "items_source": str(catalog), "users_source": str(users)}
    summary = ingest_text(tmp_path, FOUNDING, **options)
    assert summary.rejected["items"] == {"item_id is a duplicate": 1}
    assert summary.account["items"].unread == {
        "content_vector": Lost(rows=1, values={'["x"]': 1}), "price": Lost(rows=1, values={"-1": 1}),
    }  # fmt: skip
    assert summary.rejected["users"] == {"user_id is a duplicate": 1, "user_id is null": 1}
    before = next(row for row in rejected(tmp_path / "out") if row["reason"] == "item_id is a duplicate")
    assert (before["table"], json.loads(before["row"])) == ("items", lines[0])
    milk, tea, third, fourth = read(tmp_path / "out", "items")
    assert (tea["price"], fourth["content_vector"]) == (None, None)
    assert (milk["title"], milk["categories"], milk["price"]) == ("燕麦奶 🥛", ["Drinks", "Milk"], 2.5)
    assert (dict(milk["attributes"]), milk["created_at"]) == ({"colour": "white"}, datetime(2025, 1, 1, tzinfo=UTC))
    assert (third["content_vector"], third["categories"]) == ([0.5, 1.0], ["A", "B"])
    assert read(tmp_path / "out", "users") == [{"user_id": "u1", "attributes": [("age", "30")]}]


def test_folder_may_mix_formats_and_subfolders(tmp_path):
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "a.csv").write_text(HEADER + GOOD)
    (source / "deep" / "b.jsonl").write_text(
        '{"user_id": 7, "item_id": 8, "event_type": "view", "timestamp": 1767261600000}\nnot json\n[1]\n'
    )
    pq.write_table(
        pa.table({"user_id": [7.0], "item_id": [8], "event_type": ["cart"], "timestamp": [datetime(2026, 1, 3)]}),
        source / "c.parquet",
    )
    (source / "_SUCCESS").touch()
    summary = ingest(source.as_uri(), outputs_in(tmp_path / "out"))
    assert (summary.events, summary.rejected["events"]) == (3, {"line is malformed": 2})
    assert {(e["user_id"], e["item_id"]) for e in read(tmp_path / "out")} == {("u1", "i1"), ("7", "8")}


def test_output_can_be_ingested_again(tmp_path):
    first = ingest_text(tmp_path, FOUNDING, mapping=FOUNDING_MAPPING)
    out = tmp_path / "out"
    options = {"items_source": str(out / "items"), "users_source": str(out / "users")}
    again = ingest(str(out / "events"), outputs_in(tmp_path / "again"), **options)
    assert dataclasses.replace(again, account=first.account) == first and again.rejected == first.rejected
    assert read(out) == read(tmp_path / "again")


def test_an_object_store_is_read_through_fsspec(tmp_path):
    fsspec.filesystem("memory").pipe("/shop/events.csv.gz", gzip.compress((HEADER + GOOD).encode()))
    assert ingest("memory://shop", outputs_in(tmp_path)).events == 1


def test_kfp_component(tmp_path):
    (tmp_path / "events.csv").write_text(FOUNDING)
    outputs = {name: Dataset(uri=str(tmp_path / name)) for name in ("events", "items", "users", "rejected")}
    summary = Metrics(uri=str(tmp_path / "summary"))
    source = str(tmp_path / "events.csv")
    ingest_events.python_func(source, "tiny", **outputs, summary=summary, data={"mapping": FOUNDING_MAPPING})
    assert summary.metadata == {
        "events": 6, "items": 6, "users": 2, "rejected_events": 0, "rejected_items": 0, "rejected_users": 0,
    }  # fmt: skip
    assert outputs["events"].metadata["rows"] == 6
    assert outputs["events"].metadata["code_version"] == VERSION
    assert len(read(tmp_path)) == 6
