"""What a value is read as, the same in CSV, JSON Lines and Parquet."""

import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.ingest_events.categories import category_levels
from components.ingest_events.ingest import ingest
from components.ingest_events.tests.ingesting import ingest_text, outputs_in, read
from components.ingest_events.values import Reading
from components.shared.errors import DataError, InputError, SchemaError
from components.shared.schema.data_options import DataOptions
from components.shared.schema.identifiers import identifier, trimmed

EVENTS = "user_id,item_id,event_type,timestamp\nu1,a,view,2024-03-01\nu2,b,purchase,2024-03-02\n"


def as_file(rows, form):
    """The rows as a file of a format."""
    stream = io.BytesIO()
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), stream)
    elif form == "jsonl":
        stream.write("\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode())
    else:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        stream.write(text.getvalue().encode())
    return stream.getvalue()


def ingest_items(folder, rows, form, **options):
    """Ingest the founding events with a catalogue; returns (its items by id, the account of the items)."""
    catalog = folder / f"items.{form}"
    catalog.write_bytes(as_file(rows, form))
    summary = ingest_text(folder, EVENTS, items_source=str(catalog), **options)
    return {item["item_id"]: item for item in read(folder / "out", "items")}, summary.account["items"]


AVAILABLE = {
    True: ["in_stock", "In Stock", "https://schema.org/InStock", "preorder", "yes", "TRUE", "1", "1.0", "17", "t"],
    False: ["out_of_stock", "Out of stock", "http://schema.org/OutOfStock", "SoldOut", "no", "N", "0", "0.0", "false",
            "discontinued", "-3"],
}  # fmt: skip


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_the_usual_words_say_whether_an_item_can_be_ordered(tmp_path, form):
    words = [(word, wanted) for wanted, given in AVAILABLE.items() for word in given]
    rows = [{"item_id": f"i{at}", "available": word} for at, (word, _) in enumerate(words)]
    found, account = ingest_items(tmp_path, [*rows, {"item_id": "odd", "available": "perhaps"}], form)
    assert [found[f"i{at}"]["available"] for at in range(len(words))] == [wanted for _, wanted in words]
    assert found["odd"]["available"] is True and account.unread["available"].values == {"perhaps": 1}


@pytest.mark.parametrize("values", [[True, False], [1, 0], [1.0, 0.0], [4, -1]])
def test_typed_availability_is_read(tmp_path, values):
    rows = [{"item_id": f"i{at}", "available": value} for at, value in enumerate(values)]
    for form in ("jsonl", "parquet"):
        found, account = ingest_items(tmp_path, rows, form)
        assert [found["i0"]["available"], found["i1"]["available"]] == [True, False] and not account.unread


PRICES = {
    "1,100.00": 1100, "$1,299.00": 1299, "1.299,00": 1299, "1.299,00 €": 1299, "12,5": 12.5, "1 299,50": 1299.5,
    "EUR 7": 7, "US$ 7.5": 7.5, "1,100": 1100, "¥12": 12, "1'299.95": 1299.95, "1.234.567": 1234567, "3e2": 300,
    "2,50,000": 250000, " 4 ": 4, "-1": None, "NaN": None, "n/a": None, "": None,
}  # fmt: skip
UNREAD_PRICES = ["1,2,3", "12/5", "call us", "1e300", "$", "1.2.3,4,5", "5 - 7", "$" + "9" * 60]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_prices_as_shops_write_them(tmp_path, form):
    rows = [{"item_id": f"i{at}", "price": text} for at, text in enumerate([*PRICES, *UNREAD_PRICES])]
    found, account = ingest_items(tmp_path, rows, form)
    prices = [found[f"i{at}"]["price"] for at in range(len(rows))]
    assert prices == pytest.approx([*PRICES.values(), *[None] * len(UNREAD_PRICES)], nan_ok=True)
    assert account.kept == len(rows) and account.unread["price"].rows == len(UNREAD_PRICES) + 1  # and "-1"


@pytest.mark.parametrize(
    ("written", "levels"),
    [
        ("Food > Drinks", ["Food", "Drinks"]), ("Food|Drinks", ["Food", "Drinks"]),
        ('["Food", "Drinks"]', ["Food", "Drinks"]),
        ("['Food', 'Drinks']", ["Food", "Drinks"]), ('[{"name": "Drinks"}]', ["Drinks"]),
        ('[{"id": 3, "name": "Drinks"}]', ["Drinks"]), ('[["Food", "Spreads"]]', ["Food", "Spreads"]),
        ("[new] Food", ["[new] Food"]), ("[]", []), ('{"name": "Food"}', ["Food"]), ("[3, 4]", ["3", "4"]),
        ('[["Food"], ["Home"]]', None), ('[{"id": 3, "parent": 4}]', None), ("[true]", None),
    ],
)  # fmt: skip
def test_categories_in_every_form(tmp_path, written, levels):
    for form in ("csv", "jsonl", "parquet"):
        found, account = ingest_items(tmp_path, [{"item_id": "i", "categories": written}], form)
        assert found["i"]["categories"] == levels and bool(account.unread) == (levels is None)


@pytest.mark.parametrize(("nested", "levels"), [
    ([{"name": "Food"}, {"name": "Drinks"}], ["Food", "Drinks"]), ([["Food", "Drinks"]], ["Food", "Drinks"]),
])  # fmt: skip
def test_nested_categories(tmp_path, nested, levels):
    for form in ("jsonl", "parquet"):
        found, _ = ingest_items(tmp_path, [{"item_id": "i", "categories": nested}], form)
        assert found["i"]["categories"] == levels


@given(st.text("[]{}'\":, ab1", max_size=12))
def test_no_text_breaks_the_reader_of_categories(text):
    found = category_levels("[" + text)
    assert found is None or all(isinstance(level, str) for level in found)


IDS = {
    "10.0": "10",
    " a ": "a",
    "\u3000b\u00a0": "b",
    "0010": "0010",
    "10.50": "10.50",
    "\ufeffc": "c",
    "7.": "7",
    "茶": "茶",
}


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_ids_have_one_form_in_files_and_requests(tmp_path, form):
    rows = [{"user_id": text, "item_id": text, "event_type": "view", "timestamp": "2024-03-01"} for text in IDS]
    nulls = [{**rows[0], "user_id": word} for word in ("NULL", "\\N", "nan", "None", "N/A", " null ")]
    summary = ingest_text(tmp_path, as_file([*rows, *nulls], form), f"e.{form}")
    events = read(tmp_path / "out")
    assert {event["user_id"] for event in events} == {event["item_id"] for event in events} == set(IDS.values())
    assert summary.rejected["events"] == {"user_id is null": len(nulls)}
    assert "NULL" in summary.account["events"].rejected["user_id is null"].values
    assert [identifier(text) for text in IDS] == list(IDS.values())


@pytest.mark.parametrize("value", [10, 10.0, Decimal("10.000000000"), b"10"])
def test_typed_ids_are_the_same(tmp_path, value):
    row = {"user_id": value, "item_id": value, "event_type": "view", "timestamp": datetime(2024, 3, 1)}
    ingest_text(tmp_path, as_file([row], "parquet"), "e.parquet")
    assert {event["item_id"] for event in read(tmp_path / "out")} == {"10"}


@given(st.text(max_size=6))
def test_identifier_is_trimmed_and_stable(text):
    once = identifier(text)
    assert once == trimmed(once) and identifier(once) in (once, once.removesuffix("."))


def test_words_for_missing_values_can_be_chosen(tmp_path):
    text = EVENTS + "None,a,view,2024-03-01\n-,a,view,2024-03-01\n"
    summary = ingest_text(tmp_path, text, reading=Reading(null_words=("-",)))
    assert {event["user_id"] for event in read(tmp_path / "out")} == {"u1", "u2", "None"}
    assert summary.rejected["events"] == {"user_id is null": 1}


@pytest.mark.parametrize(
    ("written", "form", "expected"),
    [
        ("01/12/2010 08:26", "%d/%m/%Y %H:%M", datetime(2010, 12, 1, 8, 26, tzinfo=UTC)),
        ("24.12.2023", "%d.%m.%Y", datetime(2023, 12, 24, tzinfo=UTC)),
        ("10/Oct/2000:13:55:36 -0700", "%d/%b/%Y:%H:%M:%S %z", datetime(2000, 10, 10, 20, 55, 36, tzinfo=UTC)),
        ("2024年03月01日", "%Y年%m月%d日", datetime(2024, 3, 1, tzinfo=UTC)),
        ("2024-03-01T10:00:00Z", "%d.%m.%Y", datetime(2024, 3, 1, 10, tzinfo=UTC)),
    ],
)
def test_times_in_a_format_of_the_shop(tmp_path, written, form, expected):
    text = f"user_id,item_id,event_type,timestamp\nu1,a,view,{written}\n"
    ingest_text(tmp_path, text, reading=Reading(time_format=form))
    assert read(tmp_path / "out")[0]["timestamp"] == expected


@pytest.mark.parametrize("number", [511, 45292, 2024, 123456, 20241399])
def test_a_number_that_is_no_epoch_is_no_time(tmp_path, number):
    row = {"user_id": "u", "item_id": "a", "event_type": "view", "timestamp": number}
    for form in ("csv", "jsonl", "parquet"):
        with pytest.raises(DataError, match="timestamp cannot be read: 1"):
            ingest_text(tmp_path, as_file([row], form), f"e.{form}")


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("45292", "looks like a day number of a spreadsheet"), ("0511", "looks like a time of day or a day without"),
        ("2024", "looks like a year"), ("123456", "looks like no epoch after 1973"),
        ("31/12/2010 08:26", "time_format=\"%d/%m/%Y %H:%M\"'"), ("31.12.2023", "time_format=\"%d.%m.%Y\"'"),
        ("2024年03月01日", "time_format=\"%Y年%m月%d日\"'"), ("10/Oct/2000:13:55:36 -0700", "time_format=\"%d/%b/%Y"),
    ],
)  # fmt: skip
def test_a_time_that_cannot_be_read_is_refused_with_what_it_looks_like(tmp_path, capsys, written, hint):
    text = f"user_id,item_id,event_type,timestamp\nu1,a,view,{written}\n"
    with pytest.raises(DataError) as refusal:
        ingest_text(tmp_path, text)
    assert f"timestamp {written!r}" in refusal.value.fix and hint in refusal.value.fix
    assert f"timestamp cannot be read: 1 ({written!r} 1)" in refusal.value.headline
    ingest_text(tmp_path, text + "u1,a,view,2024-03-01\n")
    assert hint in capsys.readouterr().out


def test_format_without_letters_is_refused():
    with pytest.raises(InputError, match=r"data.time_format|time_format is 'iso'"):
        DataOptions.read({"time_format": "iso"}, "data")


def test_newest_row_of_an_item_wins(tmp_path):
    rows = [{"item_id": "a", "title": "second", "v": 2}, {"item_id": "a", "title": "first", "v": 1}]
    for form in ("csv", "jsonl", "parquet"):
        assert ingest_items(tmp_path, rows, form)[0]["a"]["title"] == "first"
        assert ingest_items(tmp_path, rows, form, mapping={"items.version": "v"})[0]["a"]["title"] == "second"
    dated = [{**row, "v": f"2024-0{row['v']}-01"} for row in rows]
    assert ingest_items(tmp_path, dated, "csv", mapping={"items.version": "v"})[0]["a"]["title"] == "second"


def test_unneeded_columns_of_any_type_are_not_read_and_needed_ones_are_named(tmp_path):
    table = pa.table({
        "user_id": ["u"], "item_id": ["a"], "event_type": ["view"], "timestamp": [1709251200],
        "half": pa.array([1.5], pa.float16()), "wide": pa.array([Decimal("1.5")], pa.decimal256(70, 2)),
        "bytes": pa.array([b"\xff"], pa.binary()),
    })  # fmt: skip
    stream = io.BytesIO()
    pq.write_table(table, stream)
    assert ingest_text(tmp_path, stream.getvalue(), "e.parquet").events == 1
    for column in ("half", "wide"):
        ingest_text(tmp_path, stream.getvalue(), "e.parquet", mapping={"price": column})
        assert read(tmp_path / "out")[0]["price"] == 1.5
    with pytest.raises(SchemaError, match="column 'bytes' is binary and not UTF-8"):
        ingest(str(tmp_path / "source" / "e.parquet"), outputs_in(tmp_path / "x"), mapping={"query": "bytes"})
