"""Any bytes are refused or read with an account whose sums agree (20,000 cases: `make fuzz`), and what was found so."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.ingest_events.items import read_items
from components.ingest_events.tests.fuzzing import run
from components.ingest_events.tests.ingesting import ingest_text, read
from components.shared.errors import InputError, SchemaError

EVENT = {"user_id": ["u1"], "item_id": ["a"], "event_type": ["view"], "timestamp": ["2024-03-01"]}


def parquet(columns):
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


def test_any_bytes_are_refused_or_read_without_losing_a_row(tmp_path):
    cases = list(run(range(100), tmp_path / "case"))
    assert {case.number: case.wrong for case in cases if case.wrong} == {}
    assert {case.result for case in cases} == {"refused", "read"}


def test_parquet_text_that_is_not_utf8_is_refused_with_its_column(tmp_path):
    broken = pa.array([b"\xffu1"], pa.binary()).view(pa.string())
    for column in (broken, broken.dictionary_encode(), pa.array([[b"\xff"]], pa.list_(pa.binary()))):
        if pa.types.is_list(column.type):
            column = pa.ListArray.from_arrays(column.offsets, column.values.view(pa.string()))
        with pytest.raises(SchemaError, match=r"column 'query' is .* and not UTF-8"):
            ingest_text(tmp_path, parquet({**EVENT, "query": column}), "e.parquet")


def test_parquet_with_a_column_name_that_is_not_utf8_is_refused(tmp_path):
    content = parquet({**EVENT, "query": ["q"]}).replace(b"query", b"qu\xacry")
    with pytest.raises(InputError, match=r"e.parquet cannot be read as Parquet: 'utf-8' codec can't decode"):
        ingest_text(tmp_path, content, "e.parquet")


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_parquet_times_beyond_every_calendar_are_out_of_range(tmp_path, unit):
    last = 2**50 if unit == "s" else 2**63 - 1
    times = pa.array([1_709_251_200 * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit], last, -last, None])
    columns = {name: cells * 4 for name, cells in EVENT.items()}
    for zone in (None, "UTC"):
        content = parquet({**columns, "timestamp": times.cast(pa.timestamp(unit, zone))})
        summary = ingest_text(tmp_path, content, "e.parquet")
        assert read(tmp_path / "out")[0]["timestamp"].timestamp() == 1_709_251_200
        assert summary.rejected["events"] == {"timestamp is out of range": 2, "timestamp is null": 1}


@pytest.mark.parametrize(
    ("column", "wrong"),
    [
        (pa.array([[("a", "1"), ("a", "2")]], pa.map_(pa.string(), pa.string())), "duplicate key"),
        (pa.array([2**53], pa.duration("s")), "Could not convert Interval"),
    ],
)
def test_typed_values_that_cannot_be_staged_refuse_the_file(tmp_path, column, wrong):
    (tmp_path / "items.parquet").write_bytes(parquet({"item_id": ["a"], "attributes": column}))
    with pytest.raises(InputError, match=f"items.parquet has a value that cannot be read: .*{wrong}"):
        read_items(str(tmp_path / "items.parquet"), tmp_path / "x" / "items")
    assert list((tmp_path / "x").iterdir()) == []


def test_parquet_views_of_text_are_text(tmp_path):
    """As polars and arrow-rs write them."""
    columns = {"user_id": [" u1 "], "item_id": ["10.0"], "event_type": ["View"], "timestamp": ["1709251200"]}
    for view, plain in ((pa.string_view(), pa.string()), (pa.binary_view(), pa.binary())):
        table = {name: pa.array(cells).cast(plain).cast(view) for name, cells in columns.items()}
        ingest_text(tmp_path, parquet(table), "e.parquet")
        (event,) = read(tmp_path / "out")
        assert (event["user_id"], event["item_id"], event["event_type"]) == ("u1", "10", "view")
        assert event["timestamp"].timestamp() == 1_709_251_200


@pytest.mark.parametrize("created", ["infinity", "294247-01-10", "0001-01-01 (BC)", "-290308-12-22"])
def test_a_time_of_an_item_in_no_year_of_a_calendar_is_unknown(tmp_path, created):
    (tmp_path / "items.csv").write_text(f"item_id,created_at\na,{created}\nb,1850-01-01\n")
    table, account = read_items(str(tmp_path / "items.csv"), tmp_path / "x" / "items")
    assert [time and time.year for time in table["created_at"].to_pylist()] == [None, 1850]
    assert account.unread["created_at"].values == {created: 1}


def test_a_csv_file_without_line_breaks_is_refused_before_its_columns_are_bound(tmp_path):
    row = "u1,a,view,2024-03-01,"
    with pytest.raises(SchemaError, match=r"e.csv has a first line of 40,001 columns"):
        ingest_text(tmp_path, row * 10_000, "e.csv")


def test_a_long_text_is_read_in_every_format(tmp_path):
    long = "q" * 200_000
    row = {name: cells[0] for name, cells in EVENT.items()} | {"query": long}
    text = ",".join(row) + "\n" + ",".join([*list(row.values())[:-1], f'"{long}"']) + "\n"
    files = {"e.csv": text, "e.jsonl": json.dumps(row), "e.parquet": parquet({**EVENT, "query": [long]})}
    for name, content in files.items():
        ingest_text(tmp_path, content, name)
        assert [event["query"] for event in read(tmp_path / "out")] == [long]


def test_an_unclosed_quote_takes_no_other_line_with_it(tmp_path):
    """Even if the next quote, many lines later, would close it."""
    good = "u1,a,view,2024-03-01\n"
    text = ",".join(EVENT) + '\n"u1,a,view,2024-03-01\n' + good * 2_000 + 'u1,"a",view,2024-03-01\n'
    for last in ('u1,"a",view,2024-03-01\n', '",a,view,2024-03-01\n'):
        summary = ingest_text(tmp_path, text + last, "e.csv")
        assert summary.account["events"].rows == 2_003
        assert summary.events == 2_002 - last.startswith('"')


def test_an_integer_of_any_length_ends_no_json_document(tmp_path):
    row = (
        '{"user_id": "u1", "item_id": "a", "event_type": "view", "timestamp": "2024-03-01", "price": '
        + "9" * 5_000
        + "}"
    )
    for content in (row, f"[{row}]", row.replace(",", ",\n")):
        summary = ingest_text(tmp_path, content, "e.json")
        assert summary.account["events"].unread["price"].rows == summary.events == 1
