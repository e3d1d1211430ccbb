"""Lists, objects and structs where a plain value is wanted: read, or refused and counted, and never taken as text."""

from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.ingest_events.ingest import ingest
from components.ingest_events.json_text import python_json
from components.ingest_events.tests.ingesting import ingest_text, outputs_in, read
from components.ingest_events.tests.test_lists import FORMS, ORDER, ROW, ingest_rows
from components.ingest_events.tests.test_values import as_file, ingest_items
from components.shared.errors import DataError, InputError, SchemaError
from components.shared.schema.account import told

HEADER = "user_id,item_id,event_type,timestamp,quantity\n"


def written(columns):
    stream = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue().to_pybytes()


def test_lists_that_python_writes_are_lists(tmp_path):
    text = HEADER + (
        "u,\"['i0', 'i1']\",purchase,2024-03-01,\"[1, 2]\"\nu,\"('i2',)\",purchase,2024-03-01,\n"
        "u,\"{'id': 5, 'q': 2}\",view,2024-03-01,1\nu,\"['a', nan]\",view,2024-03-01,1\nu,[new] i3,view,2024-03-01,1\n"
    )
    summary = ingest_text(tmp_path, text)
    found = [(one["item_id"], one["quantity"]) for one in read(tmp_path / "out")]
    assert sorted(found, key=str) == [("[new] i3", 1), ("i0", 1), ("i1", 2), ("i2", None)]
    assert summary.rejected["events"] == {"item_id is an object or a list": 2}


@pytest.mark.parametrize("text", ["{1, 2}", "[nan]", "a", "[" * 500, "", "['a', 1e999]", "b'x'", "['a'\x00]"])
def test_other_text_is_no_list_of_python(text):
    assert python_json(text) is None


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_numbers_beside_an_item_that_is_no_list_stay_a_list(tmp_path, form):
    rows = [{**ORDER, "item_id": "z", "quantity": [3, 4]}]
    alone, _ = ingest_rows(tmp_path / "alone", rows, form)
    beside, events = ingest_rows(tmp_path / "beside", [*rows, {**ORDER, "item_id": ["a"], "quantity": [1]}], form)
    assert sorted(events) == [("a", 1, None), ("z", None, None)]
    assert alone.account["events"].unread.keys() == beside.account["events"].unread.keys() == {"quantity"}


def test_the_text_of_a_list_is_one_in_json_too(tmp_path):
    rows = [{**ROW, "item_id": '["a", "b"]'}]
    assert [one[0] for one in ingest_rows(tmp_path, rows, "jsonl")[1]] == ["a", "b"]


@FORMS
def test_an_empty_list_of_prices_is_no_price(tmp_path, form):
    _, events = ingest_rows(tmp_path, [{**ORDER, "item_id": ["a", "b"], "price": []}], form)
    assert events == [("a", None, None), ("b", None, None)]


@FORMS
def test_a_list_of_ids_beside_a_path_into_another_list(tmp_path, form):
    rows = [{**ORDER, "item_id": ["a", "b"], "items": [{"q": 1, "x": 0}, {"q": 2, "x": 0}]}]
    _, events = ingest_rows(tmp_path, rows, form, mapping={"quantity": "items[].q"})
    assert events == [("a", 1, None), ("b", 2, None)]


@FORMS
def test_a_path_may_lead_to_a_list_of_ids(tmp_path, form):
    rows = [{**ORDER, "o": {"l": ["a", "b"], "x": 1}}]
    assert [one[0] for one in ingest_rows(tmp_path, rows, form, mapping={"item_id": "o.l"})[1]] == ["a", "b"]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_odd_lists_of_parameters_have_no_value(tmp_path, form):
    rows = [{**ROW, "params": ["x", 3, None]}, {**ROW, "params": [{"key": "term", "value": "tea"}]},
            {**ROW, "params": "term"}]  # fmt: skip
    ingest_rows(tmp_path, rows, form, mapping={"query": "params[key=term].value"})
    assert sorted(str(one["query"]) for one in read(tmp_path / "out")) == ["None", "None", "tea"]


def test_parquet_paths_that_lead_nowhere_are_refused(tmp_path):
    rows = [{**ROW, "params": [{"name": "term", "value": "tea"}], "p": 3}]
    for path in ("params[key=term].value", "p.q"):
        with pytest.raises(SchemaError, match="has no field"):
            ingest_text(tmp_path, as_file(rows, "parquet"), "e.parquet", mapping={"query": path})


@FORMS
def test_times_and_numbers_in_objects_with_a_single_key_are_unwrapped(tmp_path, form):
    rows = [{**ROW, "timestamp": {"$date": "2024-03-01T10:00:00Z"}, "price": {"$numberDecimal": "9.5"}}]
    _, events = ingest_rows(tmp_path, rows, form)
    assert events == [("a", None, 9.5)]
    assert read(tmp_path / "out")[0]["timestamp"] == datetime(2024, 3, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_lists_and_objects_are_no_words(tmp_path, form):
    def cell(value):
        return str(value) if form == "csv" else value

    rows = [{"item_id": "a", "title": cell(["Tea"]), "brand": cell(["X", "Y"])},
            {"item_id": "b", "title": "[2024] Tea", "brand": cell({"name": "X"})},
            {"item_id": "c", "title": cell({"a": 1, "b": 2}), "brand": "\\N"}]  # fmt: skip
    items, account = ingest_items(tmp_path, rows, form)
    assert [(items[name]["title"], items[name]["brand"]) for name in "abc"] == [
        ("Tea", None), ("[2024] Tea", "X"), (None, None),
    ]  # fmt: skip
    assert {name: lost.rows for name, lost in account.unread.items()} == {"title": 1, "brand": 1}


@pytest.mark.parametrize("text", ["['A', nan]", "[A, B]", "{'A','B'}", "{A}", "('A', x)"])
def test_categories_that_cannot_be_read_are_unknown(tmp_path, text):
    items, account = ingest_items(tmp_path, [{"item_id": "a", "categories": text}], "csv")
    assert items["a"]["categories"] is None and account.unread["categories"].values == {text: 1}


def test_categories_as_a_tuple_and_in_brackets(tmp_path):
    rows = [{"item_id": "a", "categories": "('A', 'B')"}, {"item_id": "b", "categories": "(new) A > B"},
            {"item_id": "c", "categories": "A > \\N"}]  # fmt: skip
    items, _ = ingest_items(tmp_path, rows, "csv")
    assert [items[name]["categories"] for name in "abc"] == [["A", "B"], ["(new) A", "B"], ["A"]]


TEA = "茶".encode()


def test_binary_text_in_lists_structs_and_maps_is_text(tmp_path):
    events = {"user_id": ["u"], "event_type": ["purchase"], "timestamp": [1709251200]}
    for name, column, path in (
        ("item_id", pa.array([[TEA, b"x"]], pa.list_(pa.binary())), "item_id"),
        ("p", pa.array([{"id": TEA, "d": Decimal("1.5")}],
                       pa.struct([("id", pa.binary()), ("d", pa.decimal256(50, 2))])), "p.id"),
        ("i", pa.array([[{"id": TEA, "w": np.float16(1)}]],
                       pa.list_(pa.struct([("id", pa.binary()), ("w", pa.float16())]))), "i[].id"),
    ):  # fmt: skip
        ingest_text(tmp_path, written({**events, name: column}), "e.parquet", mapping={"item_id": path})
        assert read(tmp_path / "out")[0]["item_id"] == "茶"
    catalog = tmp_path / "items.parquet"
    catalog.write_bytes(written({
        "item_id": ["a"], "categories": pa.array([[TEA]], pa.list_(pa.binary())),
        "attributes": pa.array([[("k", TEA)]], pa.map_(pa.string(), pa.binary())),
        "content_vector": pa.array([[np.float16(1.5)]], pa.list_(pa.float16())),
    }))  # fmt: skip
    ingest(str(tmp_path / "source" / "e.parquet"), outputs_in(tmp_path / "out"), mapping={"item_id": "i[].id"},
           items_source=str(catalog))  # fmt: skip
    (item,) = read(tmp_path / "out", "items")
    assert (item["categories"], item["attributes"], item["content_vector"]) == (["茶"], [("k", "茶")], [1.5])
    broken = written({**events, "item_id": pa.array([[b"\xff"]], pa.list_(pa.binary()))})
    with pytest.raises(SchemaError, match=r"column 'item_id' is .* and not UTF-8"):
        ingest_text(tmp_path, broken, "e.parquet")


def test_fields_that_differ_only_in_case_refuse_the_file(tmp_path):
    kind = pa.struct([("id", pa.string()), ("ID", pa.string())])
    events = {"user_id": ["u"], "event_type": ["view"], "timestamp": [1709251200], "p": pa.array([{"id": "a"}], kind)}
    with pytest.raises(InputError, match=r"e\.parquet has a value that cannot be read"):
        ingest_text(tmp_path, written(events), "e.parquet", mapping={"item_id": "p.id"})


def test_maps_with_other_keys_than_text_have_no_fields(tmp_path):
    events = {"user_id": ["u"], "event_type": ["view"], "timestamp": [1709251200],
              "p": pa.array([[(1, "a")]], pa.map_(pa.int32(), pa.string()))}  # fmt: skip
    with pytest.raises(SchemaError, match=r"has no field 'p\.term'"):
        ingest_text(tmp_path, written(events), "e.parquet", mapping={"item_id": "p.term"})


def test_text_of_objects_in_large_columns_has_paths(tmp_path):
    events = {"user_id": ["u"], "event_type": ["view"], "timestamp": [1709251200]}
    text = pa.array(['[{"sku": "a"}, {"sku": "b"}]'])
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        ingest_text(tmp_path, written({**events, "items": text.cast(kind)}), "e.parquet",
                    mapping={"item_id": "items[].sku"})  # fmt: skip
        assert [one["item_id"] for one in read(tmp_path / "out")] == ["a", "b"]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_mapped_column_without_any_value_is_told(tmp_path, form):
    rows = [{**ROW, "product": {"price": 3, "n": 1}}]
    mapping = {"price": "product.prise", "constants": {"quantity": "abc"}}
    summary, _ = ingest_rows(tmp_path, rows, form, mapping=mapping)
    assert told(summary.account) == [
        "events: no row has a value of 'product.prise' (price)",
        "events: quantity cannot be read in 1 row ('abc' 1), taken as unknown",
    ]


def test_an_unreadable_version_is_counted(tmp_path):
    rows = [{"item_id": "a", "v": "2024-03-01"}, {"item_id": "b", "v": "unknown"}]
    _, account = ingest_items(tmp_path, rows, "csv", mapping={"items.version": "v"})
    assert account.unread["version"].values == {"unknown": 1}


def test_types_that_are_left_out_may_have_odd_values(tmp_path):
    rows = [
        ROW,
        {**ROW, "event_type": "foo", "timestamp": "junk"},
        {**ROW, "event_type": "foo", "item_id": {"a": 1, "b": 2}},
    ]
    summary = ingest_text(tmp_path, as_file(rows, "jsonl"), "e.jsonl", mapping={"event_types": {"foo": "ignore"}})
    assert summary.rejected["events"] == {} and summary.account["events"].ignored.rows == 2
    with pytest.raises(DataError, match=r"all 2 events of .* are of types that the mapping leaves out"):
        ingest_text(tmp_path, as_file(rows[1:], "jsonl"), "e.jsonl", mapping={"event_types": {"*": "ignore"}})


def test_a_refused_catalog_is_named(tmp_path):
    with pytest.raises(DataError, match=r"the only row of items in '.*items\.csv' is not valid"):
        ingest_items(tmp_path, [{"item_id": "", "title": "a"}], "csv")


@FORMS
def test_blanks_around_a_text_of_a_list_do_not_matter(tmp_path, form):
    rows = [{**ROW, "item_id": text} for text in ('\t["a", "b"]\ufeff', "\u3000[]", "\n['c']")]
    summary, events = ingest_rows(tmp_path, rows, form)
    assert sorted(one[0] for one in events) == ["a", "b", "c"]
    assert summary.rejected["events"] == {"item_id is null": 1}
