"""What `shoprank inspect` sees of the first rows, and of sources without any that can be read."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.ingest_events.inspection import inspect_source
from components.ingest_events.tests.ingesting import HEADER
from components.ingest_events.tests.test_presets import ga4_rows
from components.shared.errors import InputError
from components.shared.schema.data_options import DataOptions

ROW = {"user_id": "u1", "item_id": "a", "event_type": "view", "timestamp": "2024-03-01"}


def inspected(folder, content, name="e.csv", **options):
    source = folder / name
    if isinstance(content, pa.Table):
        pq.write_table(content, source)
    else:
        source.write_text(content)
    return inspect_source(str(source), "events", DataOptions(**options))


def test_halves_of_characters_are_replaced(tmp_path):
    row = json.dumps({**ROW, "query": "\ud83d", "more": {"a\udc00": ["x\ud83d", "🥛"], "b": 1}})
    seen = inspected(tmp_path, f"{row}\n{json.dumps(ROW)}\n", "e.jsonl")
    assert seen.columns["query"] == ["\ufffd"] and seen.columns["more"] == [{"a\ufffd": ["x\ufffd", "🥛"], "b": 1}]
    assert json.dumps(dict(seen.columns), ensure_ascii=False).encode() and seen.account.kept >= 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("e.csv", HEADER), ("e.json", "[]"), ("e.jsonl", "\n"), ("e.parquet", pa.table({"user_id": ["u"]}).slice(0, 0)),
        ("e.parquet", pa.table({})),
    ],
)  # fmt: skip
def test_a_source_without_rows_is_refused_as_by_an_ingestion(tmp_path, name, content):
    with pytest.raises(InputError, match=rf"source '.*/{name}' has no rows"):
        inspected(tmp_path, content, name)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("e.csv", "u1,a,view\nu2,b,view\n", "line has 3 fields, the header 4"),
        ("e.jsonl", "no\n", "line is malformed"), ("e.jsonl", "[1, 2]\n", "line is malformed"),
        ("e.jsonl", "1\n", "line is malformed"),
    ],
)  # fmt: skip
def test_lines_that_are_all_malformed_are_refused_with_their_reason(tmp_path, name, content, reason):
    with pytest.raises(InputError, match=rf"no row of the beginning of '.*/{name}' can be read: {reason}") as refusal:
        inspected(tmp_path, content, name, columns=["user_id", "item_id", "event_type", "timestamp"])
    assert "`columns`" in refusal.value.fix


def test_a_file_with_rows_is_looked_at_behind_one_without(tmp_path):
    (tmp_path / "a.csv").write_text(HEADER)
    (tmp_path / "b.csv").write_text(HEADER + "u1,a,view,2024-03-01,,,\n")
    seen = inspect_source(str(tmp_path), "events", DataOptions())
    assert seen.account.kept == 1 and seen.columns["user_id"] == ["u1"]


def test_rows_that_the_mapping_leaves_out_are_no_examples_of_rejected_ones(tmp_path):
    text = HEADER + "u1,a,view,2024-03-01,,,\nu1,a,scroll,2024-03-01,,,\nu1,,view,2024-03-01,,,\n"
    seen = inspected(tmp_path, text, mapping={"event_types": {"*": "ignore"}})
    assert [one["reason"] for one in seen.rejected] == ["item_id is null"] and seen.account.ignored.rows == 1


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_google_analytics_4_is_recognised_where_no_event_has_an_item(tmp_path, form):
    rows = ga4_rows()
    table = pa.Table.from_pylist(rows)
    if form == "parquet":
        content = table.slice(0, 3)
    else:
        content = "".join(json.dumps(row) + "\n" for row in rows[:3])
    seen = inspected(tmp_path, content, f"e.{form}")
    assert seen.preset == "ga4" and seen.account.kept == 1
    assert inspected(tmp_path, "session,events\n1,x\n").preset == "", "text is no list"


def test_of_a_wide_file_every_column_can_be_guessed(tmp_path):
    names = [*(f"c{at}" for at in range(300)), "visitor", "sku", "kind", "date"]
    values = [*("" for _ in range(300)), "u1", "a", "view", "2024-03-01"]
    seen = inspected(tmp_path, ",".join(names) + "\n" + ",".join(values) + "\n", mapping={"event_type": "kind"})
    assert seen.guessed == {"user_id": "visitor", "item_id": "sku", "timestamp": "date"} and seen.account.kept == 1


@pytest.mark.parametrize("column", [
    pa.array([2**31 - 1], pa.date32()), pa.array([2**62], pa.timestamp("us")), pa.array([2**62], pa.duration("s")),
    pa.array([[2**62]], pa.list_(pa.timestamp("ms"))), pa.array([None], pa.date32()),
])  # fmt: skip
def test_values_that_python_has_no_form_of_are_not_shown(tmp_path, column):
    events = {"user_id": ["u"], "item_id": ["a"], "event_type": ["view"], "timestamp": [1709251200], "odd": column}
    pq.write_table(pa.table(events), tmp_path / "e.parquet")
    seen = inspect_source(str(tmp_path / "e.parquet"), "events", DataOptions())
    assert seen.columns["odd"] == [] and seen.account.kept == 1
