"""The CSV and JSON Lines readers lose no data, wherever a block ends."""

import csv
import gzip
import io
import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from components.ingest_events.readers import chunks, csv_files, json_files
from components.shared.errors import InputError, SchemaError

_FUZZ = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read_csv(data: bytes) -> tuple[list[tuple], list[tuple[str, str]]]:
    rows: list[tuple] = []
    malformed: list[tuple[str, str]] = []
    for chunk in csv_files.read_csv(io.BytesIO(data), "x.csv", len(data)):
        rows.extend(tuple(row.values()) for row in chunk.rows.to_pylist())
        malformed.extend(chunk.malformed)
    return rows, malformed


@_FUZZ
@given(body=st.lists(st.sampled_from(["a", "é", "燕", ",", ",", "\n", "\n", '"', " ", "\udcff"])).map("".join))
def test_small_blocks_give_the_same_rows_as_one_large_block(monkeypatch, body):
    """Also a differential test: a block without any quotes is read by another parser."""
    data = ("x,y\n" + body).encode("utf-8", "surrogateescape")
    whole = read_csv(data)
    with monkeypatch.context() as patch:
        patch.setattr(chunks, "BLOCK_CHARACTERS", 5)
        rows, malformed = read_csv(data)
    assert rows == whole[0]
    assert sorted(malformed) == sorted(whole[1])


@_FUZZ
@given(body=st.lists(st.sampled_from(["a", "b", ",", "\n", '"'])).map("".join))
def test_every_character_ends_up_in_a_row_or_a_malformed_line(body):
    rows, malformed = read_csv(b"x,y\n" + body.encode())
    found = "".join(value for row in rows for value in row) + "".join(line for line, _ in malformed)
    for letter in "ab":
        assert found.count(letter) == body.count(letter)


@_FUZZ
@given(
    rows=st.lists(st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\r\x00")), st.just("end"))),
    block=st.sampled_from([3, 1000]),
)
@example(rows=[("\ufeff", "end"), ("\ufeffx", "end")], block=3)
def test_csv_writer_output_is_read_back_unchanged(monkeypatch, rows, block):
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([("x", "y"), *rows])
    with monkeypatch.context() as patch:
        patch.setattr(chunks, "BLOCK_CHARACTERS", block)
        assert read_csv(stream.getvalue().encode()) == (rows, [])


@pytest.mark.parametrize("block", [3, 1000])
def test_json_lines_keep_every_line(monkeypatch, block):
    lines = [json.dumps({"q": "燕麦奶 🥛", "n": n}, ensure_ascii=False) for n in range(5)] + ["not json"]
    data = "\r\n\n".join(lines).encode() + b"\n\xff\n"
    monkeypatch.setattr(chunks, "BLOCK_CHARACTERS", block)
    found = list(json_files.read_json(io.BytesIO(data), "x.jsonl", len(data)))
    assert [line for chunk in found for line in chunk.rows["line"].to_pylist()] == lines
    assert [reason for chunk in found for _, reason in chunk.malformed] == [chunks.NOT_UTF8]
    assert found[-1].share == 1.0


def test_invalid_headers_and_overlong_lines_are_refused(monkeypatch):
    with pytest.raises(SchemaError, match="two columns named 'a'"):
        read_csv(b"a,b,a\n1,2,3\n")
    with pytest.raises(InputError, match="is not UTF-8"):
        read_csv("名,值\n1,2\n".encode("gb18030"))
    monkeypatch.setattr(chunks, "LONGEST_RECORD", 100)
    monkeypatch.setattr(chunks, "BLOCK_CHARACTERS", 100)
    with pytest.raises(InputError, match="a line of more than 100 characters"):
        read_csv(b"a,b\n" + b"x" * 300)


def test_a_gzip_file_cut_short_is_refused():
    data = gzip.compress(b"a,b\n" + b"1,2\n" * 10_000)[:-20]
    with pytest.raises(InputError, match="cannot be read"):
        list(csv_files.read_csv(io.BytesIO(data), "x.csv.gz", len(data)))
