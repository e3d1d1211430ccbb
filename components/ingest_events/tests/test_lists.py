"""Ids in objects, fields of objects, and lists of items, the same in CSV, JSON Lines and Parquet."""

import json

import pytest

from components.ingest_events.tests.ingesting import ingest_text, read
from components.ingest_events.tests.test_values import as_file
from components.shared.errors import InputError, SchemaError
from components.shared.schema.paths import Step, parse_path

ROW = {"user_id": "u0", "item_id": "a", "event_type": "purchase", "timestamp": 1709251200}
ORDER = {"user_id": "u1", "event_type": "purchase", "timestamp": 1709251300}


def ingest_rows(folder, rows, form, **options):
    """The summary, and (item, quantity, price) of the events."""
    if form == "csv":
        rows = [{key: json.dumps(one) if isinstance(one, list | dict) else one for key, one in row.items()}
                for row in rows]  # fmt: skip
    summary = ingest_text(folder, as_file(rows, form), f"e.{form}", **options)
    account = summary.account["events"]
    assert account.rows == account.kept + sum(lost.rows for lost in account.rejected.values())
    assert account.rows - account.added == len(rows)
    return summary, [(one["item_id"], one["quantity"], one["price"]) for one in read(folder / "out")]


FORMS = pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])


@FORMS
def test_ids_in_objects_with_a_single_key_are_unwrapped(tmp_path, form):
    _, events = ingest_rows(tmp_path, [{**ROW, "user_id": {"$oid": "u0"}, "item_id": {"$numberLong": "7"}}], form)
    assert events == [("7", None, None)] and read(tmp_path / "out")[0]["user_id"] == "u0"


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_other_objects_and_lists_are_no_ids(tmp_path, form):
    rows = [ROW, {**ROW, "user_id": {"a": 1, "b": 2}}, {**ROW, "user_id": ["u1", "u2"]},
            {**ROW, "item_id": [{"a": 1, "b": 2}]}, {**ROW, "session_id": [1, 2]}]  # fmt: skip
    rows[0]["session_id"] = ""
    summary, events = ingest_rows(tmp_path, rows, form)
    assert events == [("a", None, None)] * 2
    assert summary.rejected["events"] == {"user_id is an object or a list": 2, "item_id is an object or a list": 1}
    assert list(summary.account["events"].unread["session_id"].values) in ([["[1, 2]"], ["[1,2]"]])


def test_structs_and_lists_of_structs_are_refused_with_their_fields(tmp_path):
    for value, fix in (({"id": 1, "n": 2}, "item_id.id, item_id.n"), ([{"id": 1, "n": 2}], r"item_id\[\].id")):
        with pytest.raises(SchemaError, match=rf"(?s)'item_id' is .*map a field of it: {fix}"):
            ingest_text(tmp_path, as_file([{**ROW, "item_id": value}], "parquet"), "e.parquet")
    with pytest.raises(SchemaError, match=r"(?s)'user_id' is list<.*map 'user_id\[\]' for a row of each element"):
        ingest_text(tmp_path, as_file([{**ROW, "user_id": ["u1"]}], "parquet"), "e.parquet")


@FORMS
def test_lists_of_items_become_rows_with_the_numbers_beside_them(tmp_path, form):
    rows = [
        {**ORDER, "item_id": ["a", "b"], "quantity": [1, 2], "price": [1.5, 2.5]},
        {**ORDER, "item_id": ["c"], "quantity": [3], "price": [4.0]},
        {**ORDER, "item_id": ["d", None], "quantity": [3, 4], "price": [1.0, 2.0]},
        {**ORDER, "item_id": ["e", "f"], "quantity": [3], "price": [1.0, 2.0]},
        {**ORDER, "item_id": [], "quantity": [], "price": []},
    ]
    summary, events = ingest_rows(tmp_path, rows, form)
    assert sorted(events) == [("a", 1, 1.5), ("b", 2, 2.5), ("c", 3, 4.0), ("d", 3, 1.0)]
    assert summary.account["events"].added == 2
    assert summary.rejected["events"] == {"item_id is null": 2, "lists of a row differ in length": 1}


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_number_that_is_no_list_counts_for_every_item_of_the_row(tmp_path, form):
    rows = [{**ORDER, "item_id": ["a", "b"], "quantity": 2}, {**ORDER, "item_id": "c", "quantity": 1},
            {**ORDER, "item_id": "[new] d", "quantity": 1}]  # fmt: skip
    _, events = ingest_rows(tmp_path, rows, form)
    assert sorted(events) == [("[new] d", 1, None), ("a", 2, None), ("b", 2, None), ("c", 1, None)]


@FORMS
def test_paths_reach_into_the_objects_of_a_list(tmp_path, form):
    rows = [
        {
            **ORDER,
            "basket": {"items": [{"sku": {"id": 1}, "n": 2, "cost": 3.0}, {"sku": {"id": 2}, "n": 1, "cost": 5.0}]},
        },
        {**ORDER, "basket": {"items": [{"sku": {"id": 3}, "n": 1, "cost": 0.5}]}},
        {**ORDER, "basket": {"items": []}},
    ]
    mapping = {"item_id": "basket.items[].sku.id", "quantity": "basket.items[].n", "price": "basket.items[].cost"}
    summary, events = ingest_rows(tmp_path, rows, form, mapping=mapping)
    assert sorted(events) == [("1", 2, 3.0), ("2", 1, 5.0), ("3", 1, 0.5)]
    assert summary.rejected["events"] == {"item_id is null": 1}


@FORMS
def test_rows_may_come_from_a_list_with_every_column(tmp_path, form):
    rows = [{"session": 12, "events": [{"aid": 5, "ts": 1709251200000, "type": "view"},
                                       {"aid": 6, "ts": 1709251201000, "type": "cart"}]}]  # fmt: skip
    mapping = {
        "user_id": "session",
        "item_id": "events[].aid",
        "timestamp": "events[].ts",
        "event_type": "events[].type",
    }
    ingest_rows(tmp_path, rows, form, mapping=mapping)
    assert [(one["user_id"], one["item_id"], one["event_type"]) for one in read(tmp_path / "out")] == [
        ("12", "5", "view"), ("12", "6", "cart"),
    ]  # fmt: skip


@FORMS
def test_a_path_chooses_an_object_by_the_value_of_a_key(tmp_path, form):
    params = [{"key": "page", "value": {"text": "home"}}, {"key": "search_term", "value": {"text": "red shoes"}}]
    rows = [{"user_id": "u0", "event_type": "search", "timestamp": 1709251200, "params": given}
            for given in (params, params[:1])]  # fmt: skip
    mapping = {"query": "params[key=search_term].value.text"}
    summary, _ = ingest_rows(tmp_path, rows, form, mapping=mapping)
    assert [one["query"] for one in read(tmp_path / "out")] == ["red shoes"]
    assert summary.rejected["events"] == {"search without item and query": 1}


def test_a_path_that_leads_nowhere_is_refused(tmp_path):
    row = {**ROW, "product": {"id": 3}}
    with pytest.raises(SchemaError, match=r"no field 'product\.code'"):
        ingest_text(tmp_path, as_file([row], "parquet"), "e.parquet", mapping={"item_id": "product.code"})
    with pytest.raises(InputError, match=r"'item_id' has two lists: 'orders\[\].items\[\].id'"):
        ingest_text(tmp_path, as_file([row], "jsonl"), "e.jsonl", mapping={"item_id": "orders[].items[].id"})


def test_a_column_whose_name_is_no_path_is_one_column(tmp_path):
    text = "user_id,SKU (no. [EUR]),event_type,timestamp,a.b\nu,1,view,2024-03-01,q\n"
    ingest_text(tmp_path, text, mapping={"item_id": "SKU (no. [EUR])", "session_id": "a.b"})
    assert [(one["item_id"], one["session_id"]) for one in read(tmp_path / "out")] == [("1", "q")]


@pytest.mark.parametrize("name", ["a.", ".a", "a[", "a]", "a[]b", "a[=x]", "[]", "a..b", ""])
def test_other_text_is_no_path(name):
    assert parse_path(name) == (Step(name),)


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_dotted_paths_reach_into_objects_and_structs(tmp_path, form):
    row = {"user": {"id": "u0"}, "product": {"id": 3.0, "cost": {"value": 2.5}}, "event_type": "view",
           "timestamp": 1709251200}  # fmt: skip
    mapping = {"user_id": "user.id", "item_id": "product.id", "price": "product.cost.value"}
    _, events = ingest_rows(tmp_path, [row], form, mapping=mapping)
    assert events == [("3", None, 2.5)] and read(tmp_path / "out")[0]["user_id"] == "u0"
