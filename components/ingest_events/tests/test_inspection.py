"""`shoprank inspect`: columns, guesses and the account of some rows, without training."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.ingest_events.ingest import ingest
from components.ingest_events.inspection import FILES, inspect_source
from components.ingest_events.tests.ingesting import outputs_in, read
from components.ingest_events.tests.test_presets import OTTO, RETAILROCKET, SHOPIFY, TAOBAO, ga4_rows
from components.shared.errors import InputError
from components.shared.schema.column_words import guess_columns
from components.shared.schema.data_options import DataOptions

ORDERS = (
    "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID\n"
    "536365,85123A,HEART,6,2010-12-01 08:26:00,2.55,17850.0\n536366,71053,LANTERN,6,2010-12-01 08:28:00,3.39,\n"
)


def inspected(folder, text, name="events.csv", table="events", **options):
    source = folder / name
    source.write_bytes(text if isinstance(text, bytes) else text.encode())
    return inspect_source(str(source), table, DataOptions(**options))


def test_columns_are_guessed_and_rows_accounted_for(tmp_path):
    seen = inspected(tmp_path, ORDERS)
    assert seen.guessed == {
        "user_id": "CustomerID", "item_id": "StockCode", "timestamp": "InvoiceDate", "session_id": "InvoiceNo",
        "quantity": "Quantity", "price": "UnitPrice", "constants": {"event_type": "purchase"},
    }  # fmt: skip
    assert seen.mapping == seen.guessed and seen.missing == () and seen.columns["Description"] == ["HEART", "LANTERN"]
    assert (seen.account.rows, seen.account.kept) == (2, 1) and seen.account.rejected["user_id is null"].rows == 1
    assert seen.rows[0]["user_id"] == "17850" and seen.span == ("2010-12-01 08:26:00", "2010-12-01 08:26:00")
    assert json.loads(seen.rejected[0]["row"])["StockCode"] == "71053"


def test_what_was_guessed_is_read_by_an_ingestion(tmp_path):
    text = "visitor,sku,Action,when\nu1,a,AddToCart,2024-03-01\nu1,a,order,2024-03-02\nu1,a,hover,2024-03-02\n"
    seen = inspected(tmp_path, text, mapping={"timestamp": "when"})
    assert seen.guessed == {"user_id": "visitor", "item_id": "sku", "event_type": "Action",
                            "event_types": {"AddToCart": "cart", "order": "purchase"}}  # fmt: skip
    assert seen.account.rejected["event_type is unknown"].values == {"hover": 1}
    summary = ingest(str(tmp_path / "events.csv"), outputs_in(tmp_path / "out"), mapping=dict(seen.mapping))
    assert [one["event_type"] for one in read(tmp_path / "out")] == ["cart", "purchase"] and summary.rejected_rows == 1


def parquet(rows):
    stream = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), stream)
    return stream.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("preset", "name", "text", "kept"),
    [
        ("taobao-userbehavior", "e.csv", TAOBAO, 3), ("retailrocket", "e.csv", RETAILROCKET, 3),
        ("otto", "e.jsonl", OTTO, 3), ("shopify-orders", "e.csv", SHOPIFY, 2),
        ("ga4", "e.parquet", parquet(ga4_rows()), 4), ("", "e.csv", ORDERS, 1),
    ],
)  # fmt: skip
def test_public_forms_are_recognised(tmp_path, preset, name, text, kept):
    seen = inspected(tmp_path, text, name)
    assert seen.preset == preset and seen.account.kept == kept
    if preset:
        again = inspected(tmp_path, text, name, preset=preset)
        assert (again.preset, again.mapping, again.account) == ("", seen.mapping, seen.account)


def test_fields_of_objects_and_lists_are_found(tmp_path):
    rows = [{"user": {"id": "u", "city": "x"}, "event": "order", "time": 1709251200,
             "items": [{"sku": "a", "qty": 2}, {"sku": "b", "qty": 1}]}]  # fmt: skip
    for name, text in (("e.json", json.dumps(rows)), ("e.parquet", parquet(rows))):
        seen = inspected(tmp_path, text, name)
        assert seen.guessed["user_id"] == "user.id" and seen.guessed["item_id"] == "items[].sku"
        assert [(one["item_id"], one["quantity"]) for one in seen.rows] == [("a", 2), ("b", 1)]
        assert seen.account.added == 1


def test_a_catalog_is_inspected(tmp_path):
    seen = inspected(tmp_path, "sku,name,vendor,cost\n1,Lamp,Acme,3\n1,Lamp,Acme,4\n", "items.csv", "items")
    assert seen.guessed == {"items.item_id": "sku", "items.title": "name", "items.brand": "vendor"}
    assert (seen.account.rows, seen.account.kept, seen.span) == (2, 1, None)


def test_a_source_without_a_needed_column_says_which(tmp_path):
    seen = inspected(tmp_path, "a,b\n1,2\n")
    assert seen.missing == ("user_id", "timestamp", "item_id") and seen.columns == {"a": ["1"], "b": ["2"]}
    with pytest.raises(InputError, match="does not exist"):
        inspect_source(str(tmp_path / "typo"), "events", DataOptions())


def test_of_a_large_source_only_the_beginning_of_some_files_is_read(tmp_path):
    lines = "".join(f"u{at % 97},i{at % 89},view,{1709251200 + at}\n" for at in range(300_000))
    for at in range(9):
        file = tmp_path / f"{at}.csv"
        file.write_text("user_id,item_id,event_type,timestamp\n" + lines)
        with file.open("r+b") as stream:
            # The rest are zeros that take no space on disk.
            stream.truncate(1_200_000_000)
    seen = inspect_source(str(tmp_path), "events", DataOptions())
    assert seen.size == 9 * 1_200_000_000 and seen.files == {"csv": 9} and 2 <= seen.sampled <= FILES
    assert seen.account.kept == seen.account.rows and 300_000 < seen.account.rows <= FILES * 300_000


def test_the_first_column_of_a_name_is_guessed_once():
    assert guess_columns("events", ["user", "customer_id", "item_id", "Event Type", "date"]) == {
        "user_id": "user", "event_type": "Event Type", "timestamp": "date"
    }  # fmt: skip
    assert guess_columns("events", ["orders[].sku", "x.user_id"]) == {}


def test_the_only_column_that_ends_like_a_time_is_guessed_as_the_time():
    assert guess_columns("events", ["user_id", "item_id", "invoice_ts"]) == {"timestamp": "invoice_ts"}
    assert guess_columns("events", ["user_id", "item_id", "start_ts", "end_ts", "events"]) == {}
