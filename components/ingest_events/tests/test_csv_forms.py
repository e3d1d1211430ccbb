"""Forms of CSV that say nothing of themselves: separators, quotes, escapes and many columns."""

import io

import pytest

from components.ingest_events.readers.csv_files import read_csv
from components.ingest_events.tests.ingesting import GOOD, HEADER, ingest_text, read
from components.shared.errors import SchemaError

EVENTS = "user_id,item_id,event_type,timestamp,query\n"


def rows_of(text, **options):
    chunks = list(read_csv(io.BytesIO(text.encode()), "x.csv", len(text), **options))
    assert not any(chunk.malformed for chunk in chunks)
    return [list(row.values()) for chunk in chunks for row in chunk.rows.to_pylist()]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('id,name\na,"C:\\"\nb,"b"\n', [["a", "C:\\"], ["b", "b"]]),
        ('id,name,n\na,"Path C:\\",5\nb,"Lamp, red",6\n', [["a", "Path C:\\", "5"], ["b", "Lamp, red", "6"]]),
        ('id;name;n\na;"Path C:\\";5\nb;"";6\n', [["a", "Path C:\\", "5"], ["b", "", "6"]]),
        ('id,name\na,"C:\\"" x"\nb,"C:\\"\n', [["a", 'C:\\" x'], ["b", "C:\\"]]),
        ('id,name\na,"say \\"hi\\" now"\nb,""\n', [["a", 'say "hi" now'], ["b", ""]]),
        ('id,name\na,"say \\"hi\\""\nb,"\\"hi\\" say"\n', [["a", 'say "hi"'], ["b", '"hi" say']]),
        ('id,name\na,"say ""hi"" now"\n', [["a", 'say "hi" now']]),
    ],
)  # fmt: skip
def test_a_backslash_escapes_a_quote_or_stands_before_the_closing_one(text, rows):
    assert rows_of(text) == rows
    assert rows_of(text.replace("\n", "\r\n")) == rows


def test_no_event_is_swallowed_by_a_backslash_before_a_closing_quote(tmp_path):
    text = EVENTS + 'u1,a,view,2024-03-01,"C:\\"\nu2,b,view,2024-03-02,"b"\n'
    assert ingest_text(tmp_path, text).events == 2
    assert [event["query"] for event in read(tmp_path / "out")] == ["C:\\", "b"]


def test_separators_within_quotes_are_text():
    assert rows_of('"a";"b, c, d, e, f";"g"\n1;"2,5";3\n') == [["1", "2,5", "3"]]


@pytest.mark.parametrize("quote", ["", '"'])
def test_of_many_columns_the_wanted_ones_are_kept(quote):
    names = [f"c{at}" for at in range(2_000)]
    text = ",".join(names) + "\n" + ",".join(f"{quote}{at}{quote}" for at in range(2_000)) + "\n"
    (chunk,) = read_csv(io.BytesIO(text.encode()), "x.csv", len(text), wanted={"c3", "c1999", "absent"})
    assert chunk.rows.to_pylist() == [{"c3": "3", "c1999": "1999"}] and chunk.columns == tuple(names)
    assert len(rows_of(text)[0]) == 2_000
    (chunk,) = read_csv(io.BytesIO(text.encode()), "x.csv", len(text), wanted={"absent"})
    assert chunk.rows.num_rows == 1
    assert rows_of("a,b\n1,2\n", wanted={"a"}) == [["1", "2"]]


def test_an_export_of_two_thousand_columns_is_read(tmp_path):
    more = ",".join(f"c{at}" for at in range(2_000))
    assert ingest_text(tmp_path, f"{HEADER.strip()},{more}\n{GOOD.strip()}{',' * 2_000}\n").events == 1


def test_names_given_for_the_columns_are_unique(tmp_path):
    with pytest.raises(SchemaError, match="`columns` has two columns named 'user_id'"):
        ingest_text(tmp_path, "u1,a,view,2024-03-01\n", columns=("user_id", "item_id", "", "user_id"))


def test_one_field_is_told_in_the_singular(tmp_path):
    assert ingest_text(tmp_path, HEADER + GOOD + "u1\n").rejected["events"] == {"line has 1 field, the header 7": 1}
