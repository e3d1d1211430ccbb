"""Sources that ingest refuses as a whole: errors name the cause and a fix, and earlier output is kept."""

import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.ingest_events.ingest import ingest
from components.ingest_events.tests.ingesting import (
    FOUNDING,
    FOUNDING_MAPPING,
    HEADER,
    assert_nothing_written,
    ingest_text,
    outputs_in,
    read,
)
from components.shared.errors import DataError, InputError, SchemaError, ShoprankError
from components.shared.schema.data_options import DataOptions
from components.shared.tests.small_disk import small_file_system


def test_errors_name_the_cause_and_leave_no_output(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    cut = tmp_path / "cut.parquet"
    pq.write_table(pa.table({"user_id": ["u"] * 1000}), cut)
    cut.write_bytes(cut.read_bytes()[:-30])
    no_rows = tmp_path / "none.csv"
    no_rows.write_text(HEADER)
    null = tmp_path / "null.csv"
    null.write_text(HEADER + ",i,view,2026-01-01,,,\n" * 3)
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"user": 1}\n')
    cases = [
        (str(empty), {}, InputError, "has no .parquet"),
        (str(tmp_path / "absent"), {}, InputError, "does not exist"),
        ("gopher://x", {}, InputError, "cannot be opened"),
        ("", {}, InputError, "source is empty"),
        (str(cut), {}, InputError, "cut.parquet cannot be read as Parquet"),
        (str(no_rows), {}, InputError, "has no rows"),
        (str(null), {}, DataError, "user_id is null: 3"),
        (str(lines), {}, SchemaError, "has no column 'user_id'"),
        (str(lines), {"mapping": {"user_id": "nobody"}}, SchemaError, "'nobody' (mapped to 'user_id')"),
        (str(no_rows), {"mapping": {"price": "cost"}}, SchemaError, "'cost' (mapped to 'price')"),
        (str(no_rows), {"mapping": {"colour": "x"}}, SchemaError, "'colour' is not a column of the data contract"),
        (
            str(no_rows),
            {"mapping": {"items.colour": "x"}},
            SchemaError,
            "'items.colour' is not a column of the data contract",
        ),
        (str(no_rows), {"mapping": {"price": 3}}, InputError, "'price' is 3"),
        (str(no_rows), {"mapping": {"event_types": {"x": "y"}}}, InputError, "event type 'x'"),
        (str(no_rows), {"size": "huge"}, InputError, "size is 'huge'"),
        ("complete-journey", {"mapping": {"user_id": "x"}}, InputError, "already has a fixed mapping"),
    ]
    for source, options, kind, message in cases:
        with pytest.raises(ShoprankError) as refusal:
            ingest(source, outputs_in(tmp_path / "out"), **options)
        assert isinstance(refusal.value, kind), source
        assert message in refusal.value.headline and refusal.value.fix
        assert_nothing_written(tmp_path / "out")


def test_failed_run_keeps_the_previous_output(tmp_path):
    ingest_text(tmp_path, FOUNDING, mapping=FOUNDING_MAPPING)
    before = read(tmp_path / "out")
    with pytest.raises(DataError):
        ingest_text(tmp_path, HEADER + ",,,,,,\n")
    assert read(tmp_path / "out") == before
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["events", "items", "rejected", "users"]


@pytest.fixture
def small_disk(tmp_path):
    with small_file_system(tmp_path, "4m") as disk:
        yield disk


def test_full_disk_is_refused_and_leaves_no_output(small_disk):
    with pytest.raises(InputError, match="cannot write"):
        ingest("complete-journey", outputs_in(small_disk), size="tiny")
    assert_nothing_written(small_disk)


def test_invalid_data_options_are_refused_with_their_path():
    for raw, message in (
        ({"mapping": "user_id=visitor"}, "data.mapping is 'user_id=visitor'"),
        ({"mapping": {"shopper": "visitor"}}, "data: mapping: 'shopper' is not a column of the data contract"),
        ({"mapping": {"event_types": {"add": "basket"}}}, "data: mapping: event type 'add' is mapped to 'basket'"),
        ({"item_source": "x"}, "data.item_source is not an option"),
    ):
        with pytest.raises(InputError, match=re.escape(message)):
            DataOptions.read(raw, "data")
