"""Which files of a source are read, in which form, and what is told of the others."""

import bz2
import gzip
import lzma

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.ingest_events.ingest import ingest
from components.ingest_events.tests.ingesting import ingest_text, outputs_in, read
from components.shared.errors import DataError, InputError, SchemaError
from components.shared.schema.account import Lost, told

HEADER = "user_id,item_id,event_type,timestamp\n"
EVENTS = HEADER + "u1,a,view,2024-03-01\nu2,b,purchase,2024-03-02\n"
LINES = '{"user_id": "u1", "item_id": "a", "event_type": "view", "timestamp": "2024-03-01"}\n'


def ids(folder):
    return {(event["user_id"], event["item_id"]) for event in read(folder / "out")}


def write(folder, files):
    """Write text or bytes below `folder / source`."""
    for name, content in files.items():
        path = folder / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(folder / "source")


def test_hidden_files_and_other_formats_are_left_out_and_told(tmp_path):
    hidden = ("_temporary/0/part-0.csv", ".ipynb_checkpoints/x.csv", "._day1.csv", "_SUCCESS")
    others = ("readme.txt", "orders.xlsx")
    source = write(
        tmp_path, {"day1.csv": EVENTS, **dict.fromkeys((*hidden, *others), HEADER + "x,x,view,2024-01-01\n")}
    )
    summary = ingest(source, outputs_in(tmp_path / "out"))
    account = summary.account["events"]
    assert (summary.events, account.files) == (2, 1)
    assert account.skipped == {
        "name begins with '_' or '.'": len(hidden), "no .parquet, .csv, .tsv or .jsonl file": len(others),
    }  # fmt: skip
    assert "events: 2 files not read: no .parquet, .csv, .tsv or .jsonl file: orders.xlsx, readme.txt" in told(
        summary.account
    )


def test_a_file_is_read_whatever_its_own_name_begins_with(tmp_path):
    source = write(tmp_path, {"_hidden/.day1.csv": EVENTS})
    assert ingest(f"{source}/_hidden/.day1.csv", outputs_in(tmp_path / "out")).events == 2


def test_one_is_told_in_the_singular(tmp_path, capsys):
    one = HEADER + "u1,a,view,2024-03-01\n"
    ingest(write(tmp_path, {"day1.csv": one, "readme.txt": ""}), outputs_in(tmp_path / "out"))
    said = capsys.readouterr().out
    assert "told ingest_events events: 1 file not read: no .parquet" in said
    assert "1 event of 1 row in 1 file, 0 rows rejected" in said
    ingest(write(tmp_path, {"day2.csv": HEADER + "u2,,view,2024-03-01\n"}), outputs_in(tmp_path / "out"))
    assert "1 event of 2 rows in 2 files, 1 row rejected" in capsys.readouterr().out
    with pytest.raises(DataError, match=r"the only row of events in '.*day2\.csv' is not valid \(item_id is null: 1\)"):
        ingest(f"{tmp_path}/source/day2.csv", outputs_in(tmp_path / "out"))


def zstd(data):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("name", "compress"),
    [
        ("e.csv.gz", gzip.compress), ("e.csv", gzip.compress), ("e.csv.bz2", bz2.compress), ("e.csv.xz", lzma.compress),
        ("e.csv.zst", zstd), ("e.csv.gz", bytes), ("e.csv", lambda data: data.decode().encode("utf-16")),
        ("e.csv", lambda data: data.decode().encode("utf-8-sig")),
    ],
)  # fmt: skip
def test_compression_and_encoding_are_recognised_by_content(tmp_path, name, compress):
    assert ingest_text(tmp_path, compress(EVENTS.encode()), name).events == 2
    assert ids(tmp_path) == {("u1", "a"), ("u2", "b")}


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstd])
def test_compressed_file_cut_short_is_refused(tmp_path, compress):
    rows = "".join(f"u{at},{at * 7919 % 10007},view,2024-03-01\n" for at in range(20_000))
    with pytest.raises(InputError, match=r"e.csv.xz cannot be read: ") as refusal:
        ingest_text(tmp_path, compress((HEADER + rows).encode())[:-200], "e.csv.xz")
    assert "truncated" in refusal.value.fix


def test_parquet_named_by_its_inner_compression_is_read(tmp_path):
    (tmp_path / "source").mkdir()
    table = pa.table({"user_id": ["u1"], "item_id": ["a"], "event_type": ["view"], "timestamp": [1709251200]})
    pq.write_table(table, tmp_path / "source" / "e.parquet.gzip", compression="gzip")
    assert ingest(str(tmp_path / "source"), outputs_in(tmp_path / "out")).events == 1


def test_linked_folders_and_files_are_followed_once(tmp_path):
    source = write(tmp_path, {"a.csv": EVENTS})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "b.csv").write_text(EVENTS.replace("u2", "u3"))
    (elsewhere / "loop").symlink_to(elsewhere)
    (tmp_path / "source" / "linked").symlink_to(elsewhere)
    (tmp_path / "source" / "c.csv").symlink_to(elsewhere / "b.csv")
    summary = ingest(source, outputs_in(tmp_path / "out"))
    assert (summary.account["events"].files, summary.events) == (3, 6)


def test_globs_name_files(tmp_path):
    source = write(tmp_path, {"day1.csv": EVENTS, "day2.csv": EVENTS, "old.csv": "no,events\n1,2\n", "[1].csv": EVENTS})
    assert ingest(f"{source}/day*.csv", outputs_in(tmp_path / "out")).events == 4
    assert ingest(f"{source}/[1].csv", outputs_in(tmp_path / "out")).events == 2, "a file may be called so"
    with pytest.raises(InputError, match=r"source '.*/none\*.csv' does not exist"):
        ingest(f"{source}/none*.csv", outputs_in(tmp_path / "out"))


def test_keys_in_the_path_are_columns(tmp_path):
    (tmp_path / "source" / "event_type=view" / "dt=2024-01-01").mkdir(parents=True)
    table = pa.table({"user_id": ["u1"], "item_id": ["a"], "timestamp": [1704067200]})
    pq.write_table(table, tmp_path / "source" / "event_type=view" / "dt=2024-01-01" / "part-0.parquet")
    write(tmp_path, {
        "event_type=purchase/user%5Fid=u%202/x.csv": "item_id,timestamp\nb,2024-01-02\n",
        "event_type=cart/x.jsonl": '{"user_id": "u3", "item_id": "c", "timestamp": "2024-01-03"}\n',
        "event_type=__HIVE_DEFAULT_PARTITION__/x.csv": "user_id,item_id,timestamp\nu4,b,2024-01-02\n",
    })  # fmt: skip
    summary = ingest(str(tmp_path / "source"), outputs_in(tmp_path / "out"))
    found = {(event["user_id"], event["event_type"]) for event in read(tmp_path / "out")}
    assert found == {("u1", "view"), ("u 2", "purchase"), ("u3", "cart")}
    assert summary.rejected["events"] == {"event_type is null": 1}


@pytest.mark.parametrize(
    "text",
    [
        LINES * 2, f"[{LINES},{LINES}]", f"[\n  {LINES.strip()},\n  {LINES.strip()}\n]\n",
        LINES.replace(", ", ",\n") * 2, "\ufeff" + LINES * 2, f"\n\n{LINES}\n\n{LINES}",
        "[" + LINES.replace("{", "{\n").replace(",", "\n,") + "]" + LINES,
    ],
)  # fmt: skip
def test_json_lines_arrays_and_indented_objects(tmp_path, text):
    summary = ingest_text(tmp_path, text, "e.json")
    assert (summary.events, summary.rejected_rows) == (2, 0)


def test_an_array_among_json_lines_is_read(tmp_path):
    source = write(tmp_path, {"a.jsonl": LINES * 3, "b.json": "[" + ",".join([LINES] * 120) + "]"})
    summary = ingest(source, outputs_in(tmp_path / "out"))
    assert (summary.events, summary.rejected_rows) == (123, 0)


def test_json_document_cut_short_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"e.json is no valid JSON at '\{\"user_id\": \"u1\", \"item_id'"):
        ingest_text(tmp_path, f"[{LINES},{LINES[:26]}", "e.json")


@pytest.mark.parametrize(
    "text",
    [
        HEADER.strip() + ",,\n" + EVENTS.removeprefix(HEADER),
        HEADER + "u1,a,view,2024-03-01,,\nu2,b,purchase,2024-03-02,\n",
        "sep=;\n" + EVENTS.replace(",", ";"), "," + HEADER + "0,u1,a,view,2024-03-01\n1,u2,b,purchase,2024-03-02\n",
        HEADER.strip() + ",note\n" + 'u1,a,view,2024-03-01,"a \\"b\\", c"\n' + 'u2,b,purchase,2024-03-02,""\n',
    ],
)  # fmt: skip
def test_csv_of_spreadsheets_databases_and_pandas(tmp_path, text):
    summary = ingest_text(tmp_path, text)
    assert (summary.events, summary.rejected_rows) == (2, 0)
    assert ids(tmp_path) == {("u1", "a"), ("u2", "b")}


def test_escaped_quotes_of_mysql_are_read(tmp_path):
    text = HEADER.strip() + ",query\n" + 'u1,a,search,2024-03-01,"5\\" pipe, long"\nu1,a,view,2024-03-01,\n'
    ingest_text(tmp_path, text)
    assert {event["query"] for event in read(tmp_path / "out")} == {'5" pipe, long', None}


def test_columns_name_those_of_files_without_a_header(tmp_path):
    text = "1,2268318,2520377,pv,1511544070\n1,2333346,2520771,buy,1511561733\n"
    columns, mapping = (
        ("user_id", "item_id", "", "event_type", "timestamp"),
        {"event_types": {"pv": "view", "buy": "purchase"}},
    )
    summary = ingest_text(tmp_path, text, columns=columns, mapping=mapping)
    assert {event["event_type"] for event in read(tmp_path / "out")} == {"view", "purchase"}
    assert (summary.events, summary.items) == (2, 2)
    with pytest.raises(SchemaError, match="has no column 'user_id'"):
        ingest_text(tmp_path, text, mapping=mapping)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("e.csv", b"", "e.csv is empty"), ("e.jsonl", b"", "has no rows"), ("e.csv", b"\n\n", "e.csv is empty"),
        ("e.csv", b",,\n1,2,3\n", "has a header without names"),
    ],
)  # fmt: skip
def test_files_without_rows_have_their_own_sentence(tmp_path, name, content, message):
    with pytest.raises(InputError, match=message):
        ingest_text(tmp_path, content, name)


def test_parquet_without_rows_has_its_own_sentence(tmp_path):
    (tmp_path / "source").mkdir()
    table = pa.table({"user_id": ["u1"], "item_id": ["a"], "event_type": ["view"], "timestamp": [1709251200]})
    pq.write_table(table.slice(0, 0), tmp_path / "source" / "e.parquet")
    with pytest.raises(InputError, match="has no rows"):
        ingest(str(tmp_path / "source"), outputs_in(tmp_path / "out"))
    pq.write_table(table, tmp_path / "source" / "f.parquet")
    assert ingest(str(tmp_path / "source"), outputs_in(tmp_path / "out")).events == 1


def test_the_account_adds_up(tmp_path):
    bad = [
        "NULL,a,view,2024-03-01",
        "u1,a,teleport,2024-03-01",
        "u1,a,teleport,2024-03-01",
        "u1,a,hover,2024-03-01",
        "u1,a",
    ]
    source = write(tmp_path, {"a.csv": EVENTS + "\n".join(bad) + "\n", "b.jsonl": LINES + "no json\n"})
    (tmp_path / "items.csv").write_text("item_id,price\na,1\na,2\n,3\nb,cheap\n")
    summary = ingest(source, outputs_in(tmp_path / "out"), items_source=str(tmp_path / "items.csv"))
    for account in summary.account.values():
        assert account.rows == account.kept + sum(lost.rows for lost in account.rejected.values())
    events, items = summary.account["events"], summary.account["items"]
    assert (events.rows, events.kept, events.files, items.rows, items.kept) == (9, 3, 2, 4, 2)
    assert events.rejected["event_type is unknown"] == Lost(rows=3, values={"teleport": 2, "hover": 1})
    assert items.rejected == {
        "item_id is a duplicate": Lost(rows=1, values={"a": 1}), "item_id is null": Lost(rows=1, values={}),
    }  # fmt: skip
    assert told(summary.account) == [
        "events: 6 of 9 rows rejected: event_type is unknown: 3 ('teleport' 2, 'hover' 1); "
        "line has 2 fields, the header 4: 1; line is malformed: 1; user_id is null: 1 ('NULL' 1)",
        "items: 2 of 4 rows rejected: item_id is a duplicate: 1 ('a' 1); item_id is null: 1",
        "items: price cannot be read in 1 row ('cheap' 1), taken as unknown",
    ]


def test_rows_keep_the_order_of_the_source(tmp_path):
    # Several threads insert so many rows, in parts.
    half = 300_000
    ids = [f"i{at}" for at in range(half)]
    items = tmp_path / "items.parquet"
    titles = pa.array(range(2 * half)).cast(pa.string())
    pq.write_table(pa.table({"item_id": ids + ids, "title": titles}), items)
    source = write(tmp_path, {"day1.csv": EVENTS})
    ingest(source, outputs_in(tmp_path / "out"), items_source=str(items))
    found = pq.read_table(tmp_path / "out" / "items")
    assert found["item_id"].to_pylist() == ids
    assert found["title"].to_pylist() == titles.slice(half).to_pylist()
