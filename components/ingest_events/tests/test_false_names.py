"""Files that are not what their name says, and links to nothing."""

import gzip

import pytest

from components.ingest_events.ingest import ingest
from components.ingest_events.inspection import inspect_source
from components.ingest_events.tests.ingesting import GOOD, HEADER, ingest_text, outputs_in
from components.shared.errors import InputError
from components.shared.schema.account import told
from components.shared.schema.data_options import DataOptions

ROW = '{"user_id": "u1", "item_id": "a", "event_type": "view", "timestamp": "2024-03-01"}'
EVENTS = HEADER + GOOD
# The time in gzip's header would be in the test's name, and pytest-xdist asks every worker for the same names.
GZIPPED = gzip.compress(b"PAR1\x15\x04", mtime=0)


@pytest.mark.parametrize(
    ("name", "content", "wrong", "fix"),
    [
        ("e.csv", b"PAR1\x15\x04", "is a Parquet file", "end with .parquet"),
        ("e.jsonl", b"PAR1\x15\x04", "is a Parquet file", "end with .parquet"),
        ("e.csv.gz", GZIPPED, "is a Parquet file", "end with .parquet"),
        ("e.csv", b"PK\x03\x04\x14\x00", "is a zip archive or a workbook", "unpack it"),
        ("e.jsonl", b"PK\x03\x04\x14\x00", "is a zip archive or a workbook", "unpack it"),
        ("e.csv", EVENTS.encode("utf-16-le"), "has NUL characters in its first line", "iconv"),
        ("e.csv", EVENTS.encode("utf-16-be"), "has NUL characters in its first line", "iconv"),
        ("e.csv", EVENTS.encode("utf-32"), "has NUL characters in its first line", "iconv"),
        ("e.jsonl", ROW.encode("utf-16-le"), "has NUL characters in its first line", "iconv"),
        ("e.csv", f"{ROW}\n{ROW}\n".encode(), "is JSON and no CSV", "end with .json"),
        ("e.csv", f"[\n{ROW},\n{ROW}]\n".encode(), "is JSON and no CSV", "end with .json"),
        ("e.tsv", ROW.replace(",", ",\n").encode(), "is JSON and no CSV", "end with .json"),
    ],
)  # fmt: skip
def test_a_file_under_a_false_name_has_its_own_sentence(tmp_path, name, content, wrong, fix):
    with pytest.raises(InputError, match=f"{name} {wrong}") as refusal:
        ingest_text(tmp_path, content, name)
    assert fix in refusal.value.fix
    with pytest.raises(InputError, match=f"{name} {wrong}"):
        inspect_source(str(tmp_path / "source" / name), "events", DataOptions())


@pytest.mark.parametrize("first", ["[id]", "{id}", '{"a": 1}'])
def test_a_header_with_brackets_is_one(tmp_path, first):
    text = EVENTS.replace("\n", f",{first}\n", 1).replace(",,,\n", ",,,,x\n")
    turned = "\n".join(",".join(reversed(line.split(","))) for line in text.splitlines())
    assert ingest_text(tmp_path, turned).events == 1


def test_a_link_to_nothing_is_left_out_and_told(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.csv").write_text(EVENTS)
    (source / "b.csv").symlink_to(tmp_path / "absent.csv")
    summary = ingest(str(source), outputs_in(tmp_path / "out"))
    assert (summary.events, summary.account["events"].files) == (1, 1)
    assert told(summary.account) == ["events: 1 file not read: link to a file that does not exist: b.csv"]
