"""The same table as CSV, JSON Lines and Parquet gives the same events, rejected rows and account, whatever it holds."""

import csv
import io
import json
import re
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from components.ingest_events.tests.ingesting import assert_nothing_written, ingest_text, read, rejected
from components.shared.errors import DataError
from components.shared.schema.identifiers import NULL_WORDS
from components.shared.schema.tables import EVENT_TYPES

_PROPERTY = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)

# A file's line ends are all read as \n, so a \r within a cell is no difference of the formats.
_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=8)
_BLANKS = st.sampled_from(["", "", "", " ", "\u3000", "\u00a0", "\ufeff", "\t", "\n"])


def _padded(inner):
    return st.builds(lambda before, text, after: before + text + after, _BLANKS, inner, _BLANKS)


_IDS = st.one_of(
    _padded(st.sampled_from(["u1", "u2", "0010", "10", "10.0", "10.", "10.50", "1e3", "-7.0", "茶", "a,b", 'a"b',
                              '["a", "b"]', "[1, 2.0, null]", "[]", '{"$oid": "u"}', "[new]"])),
    _padded(st.sampled_from([*NULL_WORDS, "NULL", "None", "\\N"])), _TEXT, st.none(),
)  # fmt: skip
_TYPES = st.one_of(
    st.sampled_from([*EVENT_TYPES, *EVENT_TYPES, "teleport", ""]),
    _padded(st.sampled_from(["View", "PURCHASE", "null"])),
    st.none(),
)  # fmt: skip
_SECONDS = st.integers(1_767_225_600, 1_767_300_000)
_TIMES = st.one_of(
    _SECONDS.map(lambda second: datetime.fromtimestamp(second, UTC).isoformat()),
    _padded(_SECONDS.map(str)), _SECONDS.map(lambda second: f"{second}000"),
    _SECONDS.map(lambda second: f"{second}.25"),
    st.sampled_from(["2026-01-01", "2026-01-01 10:00:00+02", "20260101", "202601011200", "0511", "45292", "yesterday",
                     "infinity", "1066-10-14", "2026-13-01", "nan", "", "1e400", "99999999999999999999"]),
    _TEXT, st.none(),
)  # fmt: skip
_AMOUNTS = st.one_of(
    st.floats(-10, 1e6, width=32).map(str), st.integers(-3, 10**12).map(str), _TEXT, st.none(),
    _padded(st.sampled_from(["$1,299.00", "1.299,00 €", "12,5", "1 299,50", "1'299.95", "3e2", "1e300", "-inf", "NaN",
                             "n/a", "call us", "1,2,3", "٣", "1_000", "0x10", "+5", "--5", "1.", ".5"])),
)  # fmt: skip
_QUERIES = st.one_of(
    _TEXT, st.sampled_from(["燕麦奶", "🥛 milk", 'a "b", c', "a|b;c\td", "line\nbreak", '"', '""', "\\", '\\"', "[new]",
                            '{"a": 1', "null", "\x1a", "\x01", "e\u0301"]), st.none(),
)  # fmt: skip

_TABLES = st.lists(
    st.fixed_dictionaries({
        "user_id": _IDS, "item_id": _IDS, "event_type": _TYPES, "timestamp": _TIMES, "query": _QUERIES,
        "session_id": _IDS, "quantity": _AMOUNTS, "price": _AMOUNTS,
    }),
    min_size=1, max_size=8,
)  # fmt: skip

_TYPED = st.lists(
    st.fixed_dictionaries({
        "user_id": st.one_of(st.integers(-(2**63), 2**63 - 1), st.none()),
        "item_id": st.one_of(st.integers(1 - 2**53, 2**53 - 1).map(float),
                             st.integers(-99, 99).map(lambda n: n / 8), st.none()),
        "event_type": st.sampled_from(EVENT_TYPES), "query": st.one_of(st.booleans(), st.none()),
        "timestamp": st.one_of(_SECONDS, _SECONDS.map(lambda second: second * 1000), st.integers(0, 2**62), st.none()),
        "session_id": st.one_of(st.integers(0, 99), st.none()), "quantity": st.one_of(st.integers(-1, 9), st.none()),
        "price": st.one_of(st.floats(-10, 1e6), st.floats(allow_nan=False, allow_infinity=False), st.none()),
    }),
    min_size=1, max_size=8,
)  # fmt: skip
_ARROW = pa.schema({
    "user_id": pa.int64(), "item_id": pa.float64(), "event_type": pa.string(), "query": pa.bool_(),
    "timestamp": pa.int64(), "session_id": pa.int64(), "quantity": pa.int64(), "price": pa.float64(),
})  # fmt: skip


def as_csv(rows, separator=",", quoting=csv.QUOTE_MINIMAL):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, quoting=quoting, lineterminator="\n")
    writer.writerow(rows[0])
    # Programs write true and false in small letters.
    writer.writerows(
        [[str(cell).lower() if isinstance(cell, bool) else cell for cell in map(row.get, rows[0])] for row in rows]
    )
    return text.getvalue().encode()


def as_lines(rows, escaped=True, sparse=False):
    """JSON Lines; `sparse`: without the keys of missing values."""
    kept = [{key: cell for key, cell in row.items() if not sparse or cell is not None} for row in rows]
    return "\n".join(json.dumps(row, ensure_ascii=escaped) for row in kept).encode()


def as_parquet(rows, schema=None):
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema or pa.schema(dict.fromkeys(rows[0], pa.string()))), stream)
    return stream.getvalue()


def outcome(folder, content, name, rows):
    """What an ingestion of `rows` rows writes and says, and the values that it shows."""
    try:
        summary = ingest_text(folder, content, name)
    except DataError as refusal:
        assert_nothing_written(folder / "out")
        said = refusal.headline.split("valid", 1)[1]
        return re.sub(r" \('.*?' \d+\)", "", said), said
    account = summary.account["events"]
    lost, unread = ({name: one.rows for name, one in part.items()} for part in (account.rejected, account.unread))
    assert account.rows == account.kept + sum(lost.values()) and account.rows - account.added == rows
    assert (len(read(folder / "out")), len(rejected(folder / "out"))) == (account.kept, sum(lost.values()))
    derived = {name: summary.account[name] for name in ("items", "users")}
    return (read(folder / "out"), lost, unread, derived, summary.first, summary.last), (
        account.rejected,
        account.unread,
    )


@_PROPERTY
@given(
    rows=_TABLES, separator=st.sampled_from(",;\t|\x01"), quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    escaped=st.booleans(), sparse=st.booleans(),
)  # fmt: skip
def test_text_in_three_formats_gives_the_same_events(tmp_path_factory, rows, separator, quoting, escaped, sparse):
    folder = tmp_path_factory.mktemp("text")
    # A file of JSON objects must have each required key at least once.
    sparse = sparse and all(any(row[key] is not None for row in rows) for key in ("user_id", "event_type", "timestamp"))
    by_csv = outcome(folder / "csv", as_csv(rows, separator, quoting), "e.csv", len(rows))
    assert by_csv == outcome(folder / "jsonl", as_lines(rows, escaped, sparse), "e.jsonl", len(rows))
    assert by_csv == outcome(folder / "parquet", as_parquet(rows), "e.parquet", len(rows))


@_PROPERTY
@given(rows=_TYPED)
def test_typed_columns_give_the_events_of_their_text(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("typed")
    # Each format shows a number of a row that it rejects in its own form: 1e+30 is 1e30 in JSON.
    by_csv, _ = outcome(folder / "csv", as_csv(rows), "e.csv", len(rows))
    assert by_csv == outcome(folder / "jsonl", as_lines(rows), "e.jsonl", len(rows))[0]
    assert by_csv == outcome(folder / "parquet", as_parquet(rows, _ARROW), "e.parquet", len(rows))[0]
