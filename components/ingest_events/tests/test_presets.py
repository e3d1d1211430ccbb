"""Public forms of data, each on a made sample of its form."""

import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.ingest_events.rules import IGNORED
from components.ingest_events.tests.ingesting import ingest_text, read, rejected
from components.shared.errors import InputError
from components.shared.schema.data_options import DataOptions
from components.shared.schema.presets import PRESETS

TAOBAO = "1,2268318,2520377,pv,1511544070\n1,2333346,2520771,buy,1511561733\n7,2576651,149192,fav,1511572885\n"
RETAILROCKET = (
    "timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n"
    "1433224214164,992329,addtocart,248676,\n1433222276276,599528,transaction,356475,4000\n"
)
OTTO = (
    '{"session":12899779,"events":[{"aid":59625,"ts":1661724000278,"type":"clicks"}]}\n'
    '{"session":12899780,"events":[{"aid":1142000,"ts":1661724000378,"type":"carts"},'
    '{"aid":582732,"ts":1661724058352,"type":"orders"}]}\n'
)
SHOPIFY = (
    "Name,Email,Financial Status,Paid at,Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku,Created at\n"
    "#1002,ann@example.com,paid,2024-03-01 10:00:05 -0500,2,Green tea,4.50,TEA-1,2024-03-01 10:00:00 -0500\n"
    "#1002,ann@example.com,,,1,Cup,9.00,CUP-7,2024-03-01 10:00:00 -0500\n"
)


def ga4_rows():
    """Rows of a table events_*, as BigQuery writes them."""

    def row(name, at, items=(), **params):
        given = [{"key": key, "value": {"string_value": value if isinstance(value, str) else None,
                                        "int_value": value if isinstance(value, int) else None}}
                 for key, value in params.items()]  # fmt: skip
        return {"event_date": "20240301", "event_timestamp": 1709251200000000 + at, "event_name": name,
                "user_pseudo_id": "1.2", "event_params": given, "items": list(items)}  # fmt: skip

    tea, cup = ({"item_id": name, "item_name": name.lower(), "price": price, "quantity": count}
                for name, price, count in (("TEA", 4.5, 2), ("CUP", 9.0, 1)))  # fmt: skip
    return [
        row("session_start", 0, ga_session_id=77),
        row("page_view", 1, page_title="Home", ga_session_id=77),
        row("view_search_results", 2, search_term="green tea", ga_session_id=77),
        row("view_item", 3, [tea], ga_session_id=77),
        row("purchase", 4, [tea, cup], ga_session_id=77),
    ]


def events_of(folder, text, name, preset, **options):
    given = DataOptions(preset=preset, **options)
    summary = ingest_text(folder, text, name, mapping=given.full_mapping(), columns=given.all_columns())
    account = summary.account["events"]
    left_out = account.ignored.rows if account.ignored else 0
    assert account.rows == account.kept + left_out + sum(lost.rows for lost in account.rejected.values())
    return summary, [(one["user_id"], one["item_id"], one["event_type"]) for one in read(folder / "out")]


@pytest.mark.parametrize(
    ("preset", "name", "text", "wanted"),
    [
        ("taobao-userbehavior", "UserBehavior.csv", TAOBAO,
         [("1", "2268318", "view"), ("1", "2333346", "purchase"), ("7", "2576651", "cart")]),
        ("retailrocket", "events.csv", RETAILROCKET,
         [("257597", "355908", "view"), ("599528", "356475", "purchase"), ("992329", "248676", "cart")]),
        ("otto", "train.jsonl", OTTO,
         [("12899779", "59625", "view"), ("12899780", "1142000", "cart"), ("12899780", "582732", "purchase")]),
        ("shopify-orders", "orders_export.csv", SHOPIFY,
         [("ann@example.com", "TEA-1", "purchase"), ("ann@example.com", "CUP-7", "purchase")]),
    ],
)  # fmt: skip
def test_a_preset_reads_its_form(tmp_path, preset, name, text, wanted):
    summary, events = events_of(tmp_path, text, name, preset)
    assert events == wanted and not summary.rejected_rows
    assert summary.account["events"].unread == {}


def test_orders_of_shopify_have_times_prices_and_quantities(tmp_path):
    events_of(tmp_path, SHOPIFY, "orders_export.csv", "shopify-orders")
    first = read(tmp_path / "out")[0]
    assert first["timestamp"] == datetime(2024, 3, 1, 15, tzinfo=UTC)
    assert (first["session_id"], first["quantity"], first["price"]) == ("#1002", 2, 4.5)


@pytest.mark.parametrize("form", ["parquet", "json"])
def test_google_analytics_4_is_read_from_parquet_and_json(tmp_path, form):
    if form == "parquet":
        stream = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(ga4_rows()), stream)
        text = stream.getvalue().to_pybytes()
    else:
        # BigQuery writes whole numbers as text, and no empty fields.
        text = "".join(json.dumps(_exported(row)) + "\n" for row in ga4_rows())
    summary, events = events_of(tmp_path, text, f"events_20240301.{form}", "ga4")
    assert events == [("1.2", None, "search"), ("1.2", "TEA", "view"), ("1.2", "TEA", "purchase"),
                      ("1.2", "CUP", "purchase")]  # fmt: skip
    found = read(tmp_path / "out")
    assert found[0]["query"] == "green tea" and {one["session_id"] for one in found} == {"77"}
    assert (found[2]["price"], found[2]["quantity"]) == (4.5, 2)
    account = summary.account["events"]
    assert account.ignored.rows == 2 and account.ignored.values == {"page_view": 1, "session_start": 1}
    assert rejected(tmp_path / "out") == [] and summary.rejected["events"] == {} and IGNORED not in account.rejected


def _exported(value):
    if isinstance(value, dict):
        return {key: _exported(one) for key, one in value.items() if one not in (None, [])}
    if isinstance(value, list):
        return [_exported(one) for one in value]
    return str(value) if isinstance(value, int) else value


def test_a_given_mapping_stands_over_that_of_the_preset(tmp_path):
    mapping = {"item_id": "Lineitem name", "constants": {"event_type": "cart"}}
    _, events = events_of(tmp_path, SHOPIFY, "orders_export.csv", "shopify-orders", mapping=mapping)
    assert [event[1:] for event in events] == [("Green tea", "cart"), ("Cup", "cart")]
    given = DataOptions(preset="retailrocket", guess_types=True, mapping={"event_types": {"view": "impression"}})
    types = given.full_mapping()["event_types"]
    assert (types["view"], types["transaction"], types["pv"]) == ("impression", "purchase", "view")


def test_presets_are_those_that_the_option_names():
    assert PRESETS == ("ga4", "otto", "retailrocket", "shopify-orders", "taobao-userbehavior")
    with pytest.raises(InputError, match=r"(?s)preset is 'ga'.*give one of: ga4, otto"):
        DataOptions.read({"preset": "ga"}, "data")
