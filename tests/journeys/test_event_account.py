"""From the rows of a source to the events of the features: the numbers of the report add up."""

import itertools
import json
import re

import pytest

from components.build_features.build import build
from components.build_features.config import FeatureOptions
from components.ingest_events.ingest import ingest
from components.ingest_events.tests.ingesting import outputs_in
from components.shared.report.event_account import event_steps
from components.shared.report.run_report import RunFolders, write_report
from components.shared.schema.account import read_account
from components.shared.schema.sizes import size_named
from components.shared.storage import read_json

START = 1_709_251_200
TOTALS = ("rows of the source", "events", "events for training")


def _event(user, item, kind, seconds):
    return {"user_id": user, "item_id": item, "event_type": kind, "timestamp": START + seconds}


def _rows():
    """Sixty days of purchases of twenty shoppers, and rows that leave at every step."""
    rows = [_event(f"u{u}", f"i{(u + d) % 10}", "purchase", d * 86400 + u * 60) for d in range(60) for u in range(20)]
    rows += rows[:7]
    rows += [_event("u1", ["i1", "i2", "i3"], "purchase", 90)]
    rows += [_event("guest", "i1", "purchase", 86400 + at) for at in range(2_001)]
    rows += [_event("u2", "gone", "purchase", 100 + at) for at in range(3)]
    rows += [_event("u3", "i3", "purchase", -3650 * 86400)]
    rows += [_event("u4", "i4", "scroll", 5), _event("u4", "i4", "hover", 6), _event("", "i4", "purchase", 7)]
    return rows


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("account")
    events, items = folder / "events.jsonl", folder / "items.csv"
    events.write_text("".join(json.dumps(row) + "\n" for row in _rows()))
    items.write_text("item_id\n" + "".join(f"i{at}\n" for at in range(10)))
    mapping = {"event_types": {"scroll": "ignore"}}
    ingest(str(events), outputs_in(folder), mapping=mapping, items_source=str(items))
    build(folder / "events", folder / "items", folder / "features", FeatureOptions.for_size(size_named("tiny")))
    return folder


def test_every_row_is_kept_or_has_a_reason(run):
    steps = event_steps(read_account(run / "rejected")["events"], read_json(run / "features" / "cleaning.json"))
    assert [(what, rows) for what, rows, _ in steps] == [
        ("rows of the source", len(_rows())), ("more, from lists of items", 2),
        ("left out by event_types of the mapping", -1), ("rejected: event_type is unknown", -1),
        ("rejected: user_id is null", -1), ("events", len(_rows()) - 1), ("dropped: repeat another event", -7),
        ("dropped: of shoppers with too many events on a day", -2_001),
        ("dropped: of items that are not in the catalog", -3), ("dropped: far from all others in time", -1),
        ("events for training", 1_200 + 3),
    ]  # fmt: skip
    totals = [at for at, (what, _, _) in enumerate(steps) if what in TOTALS]
    for one, next_one in itertools.pairwise(totals):
        assert sum(rows for _, rows, _ in steps[one:next_one]) == steps[next_one][1]


def test_the_report_shows_the_steps(run, tmp_path):
    folders = RunFolders(rejected=run / "rejected", features=run / "features")
    write_report(folders, tmp_path / "report.html")
    html = re.sub(r"<[^>]*>", " ", (tmp_path / "report.html").read_text(encoding="utf-8"))
    for text in (
        "From the source to the training",
        "rejected: event_type is unknown",
        "hover (1)",
        "far from all others in time",
        "1,203",
    ):
        assert text in html
