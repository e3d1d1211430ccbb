"""A row that violates a rule is rejected unchanged, with its reason, and does not affect other rows."""

import json

import pytest

from components.ingest_events.tests.ingesting import GOOD, HEADER, ingest_text, read, rejected
from components.shared.errors import DataError
from components.shared.schema.account import Lost
from components.shared.schema.data_options import DataOptions


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (",i1,view,2026-01-01,,,", "user_id is null"),
        ("  ,i1,view,2026-01-01,,,", "user_id is null"),
        ("u1,i1,,2026-01-01,,,", "event_type is null"),
        ("u1,i1,teleport,2026-01-01,,,", "event_type is unknown"),
        ("u1,i1,view,,,,", "timestamp is null"),
        ("u1,i1,view,yesterday,,,", "timestamp cannot be read"),
        ("u1,i1,view,infinity,,,", "timestamp is out of range"),
        ("u1,i1,view,1066-10-14,,,", "timestamp is out of range"),
        ("u1,,view,2026-01-01,,,", "item_id is null"),
        ("u1,,search,2026-01-01,,,", "search without item and query"),
        ("u1,i1,view,2026-01-01,,,-1", "price is negative"),
        ("u1,i1,view,2026-01-01,,-2,", "quantity is negative"),
        ("NULL,i1,view,2026-01-01,,,", "user_id is null"),
        ("u1,\\N,view,2026-01-01,,,", "item_id is null"),
        ("u1,i1,view,0511,,,", "timestamp cannot be read"),
        ("u1,i1,view,45292,,,", "timestamp cannot be read"),
        ("u1,i1,view", "line has 3 fields, the header 7"),
        ("u1,i1,view,2026-01-01,,,,surplus", "line has 8 fields, the header 7"),
        ('u1,i1,view,2026-01-01,"open,,', "line is malformed"),
    ],
)
def test_bad_row_is_rejected_with_its_reason(tmp_path, line, reason):
    summary = ingest_text(tmp_path, HEADER + GOOD + line + "\n" + GOOD)
    assert summary.events == 2
    assert summary.rejected["events"] == {reason: 1}
    (row,) = rejected(tmp_path / "out")
    assert (row["table"], row["reason"]) == ("events", reason)
    assert row["source_file"].endswith("source/events.csv")
    kept = json.loads(row["row"])
    assert kept == line if reason.startswith("line ") else ",".join(kept.values()) == line


@pytest.mark.parametrize(
    ("line", "unread"),
    [
        ("u1,i1,view,2026-01-01,,,NaN", None), ("u1,i1,view,2026-01-01,,,null", None),
        ("u1,i1,view,2026-01-01,,,1e300", ("price", "1e300")), ("u1,i1,view,2026-01-01,,,cheap", ("price", "cheap")),
        ("u1,i1,view,2026-01-01,,inf,", ("quantity", "inf")),
    ],
)  # fmt: skip
def test_an_optional_value_that_cannot_be_read_is_unknown_and_counted(tmp_path, line, unread):
    summary = ingest_text(tmp_path, HEADER + GOOD + line + "\n")
    assert (summary.events, summary.rejected["events"]) == (2, {})
    assert [(event["price"], event["quantity"]) for event in read(tmp_path / "out")] == [(None, None)] * 2
    assert summary.account["events"].unread == ({unread[0]: Lost(rows=1, values={unread[1]: 1})} if unread else {})


def test_unknown_event_types_are_told_with_what_they_probably_mean(tmp_path, capsys):
    words = {"AddToCart": "cart", "transaction": "purchase", "pv": "view", "add-to-cart": "cart", "hover": None}
    lines = [f"u{at},i1,{word},2026-01-0{at}T10:00:00Z,,,\n" for at, word in enumerate(words, 1)]
    text = HEADER + GOOD + "".join(lines)
    assert ingest_text(tmp_path, text).events == 1
    guessed = '{"AddToCart": "cart", "add-to-cart": "cart", "pv": "view", "transaction": "purchase"}'
    assert f"told ingest_events events: probably {guessed}: give them as event_types" in capsys.readouterr().out
    with pytest.raises(DataError) as refusal:
        ingest_text(tmp_path / "none", HEADER + lines[0])
    assert 'probably {"AddToCart": "cart"}: give them as event_types' in refusal.value.fix
    summary = ingest_text(tmp_path, text, mapping=DataOptions(guess_types=True).full_mapping())
    found = {event["user_id"]: event["event_type"] for event in read(tmp_path / "out")}
    assert found == {"u1": "view"} | {f"u{at}": kind for at, kind in enumerate(words.values(), 1) if kind}
    assert summary.account["events"].rejected == {"event_type is unknown": Lost(rows=1, values={"hover": 1})}
    own = DataOptions(guess_types=True, mapping={"event_types": {"pv": "impression"}}).full_mapping()
    ingest_text(tmp_path, text, mapping=own)
    assert "impression" in {event["event_type"] for event in read(tmp_path / "out")}


def test_ratings_may_be_negative_and_must_be_finite(tmp_path):
    text = (
        HEADER.strip() + ",stars\n" + "".join(GOOD.strip() + f",{stars}\n" for stars in ("4.5", "", "-2", "nan", "inf"))
    )
    summary = ingest_text(tmp_path, text, mapping={"rating": "stars"})
    assert summary.account["events"].unread == {"rating": Lost(rows=1, values={"inf": 1})}
    found = [event["rating"] for event in read(tmp_path / "out")]
    assert sorted(found, key=str) == [-2.0, 4.5, None, None, None]
