"""Data that validate accepts or refuses, its error messages, and its outputs in both cases."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kfp.dsl import HTML, Artifact, Dataset, Metrics

from components.shared.errors import DataError, InputError
from components.shared.schema.account import Lost, TableAccount, write_account
from components.shared.schema.data_options import ValidationOptions
from components.shared.schema.tables import EVENTS, ITEMS, USERS
from components.shared.version import VERSION
from components.validate_data.component import validate_data
from components.validate_data.validate import ValidationResult, validate

START = datetime(2026, 1, 1, 10, tzinfo=UTC)
NOW = datetime(2026, 11, 23, tzinfo=UTC)
REJECTED = pa.schema([(name, pa.string()) for name in ("table", "reason", "source_file", "row")])


def event(number: int, **changes) -> dict:
    row = {
        "user_id": f"u{number % 7}",
        "item_id": f"i{number % 11}",
        "event_type": "view",
        "timestamp": START + timedelta(hours=number),
        "session_id": f"s{number // 3}",
        "quantity": 1.0,
        "price": 1.0 + number % 5,
    }
    return {**row, **changes}


def healthy() -> dict[str, list[dict]]:
    items = [
        {"item_id": f"i{n}", "title": f"Item {n}", "categories": ["A", "B"], "price": 2.0, "brand": "x"}
        for n in range(11)
    ]
    return {
        "events": [event(n) for n in range(200)],
        "items": [{**item, "available": True, "attributes": [("size", "L")]} for item in items],
        "users": [{"user_id": f"u{n}", "attributes": []} for n in range(7)],
        "rejected": [],
    }


def write(folder: Path, data: dict[str, list[dict]]) -> None:
    schemas = {"events": EVENTS, "items": ITEMS, "users": USERS, "rejected": REJECTED}
    for name, rows in data.items():
        path = folder / name / ("date=2026-01-01" if name == "events" else "") / "part-0.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Required columns may hold nulls here, since some of the tests need them.
        relaxed = pa.schema([field.with_nullable(True) for field in schemas[name]])
        pq.write_table(pa.Table.from_pylist(rows, schema=relaxed), path)


def run(folder: Path, data: dict[str, list[dict]] | None = None, now: datetime = NOW, **thresholds):
    write(folder, data or healthy())
    paths = [folder / name for name in ("events", "items", "users", "statistics")]
    return validate(*paths, folder / "page.html", ValidationOptions(**thresholds), folder / "rejected", now)


def refusal_of(folder: Path, data: dict[str, list[dict]], **thresholds) -> DataError:
    with pytest.raises(DataError) as caught:
        run(folder, data, **thresholds)
    found = statistics(folder)["findings"]
    assert any(finding["level"] == "error" for finding in found)
    assert "refused" in (folder / "page.html").read_text(encoding="utf-8")
    return caught.value


def statistics(folder: Path) -> dict:
    return json.loads((folder / "statistics" / "statistics.json").read_text(encoding="utf-8"))


def levels(result: ValidationResult) -> dict[str, str]:
    return {finding.rule: finding.level for finding in result.findings}


def test_healthy_data_passes_and_is_described(tmp_path):
    result = run(tmp_path)
    assert (result.events, result.items, result.users) == (200, 11, 7)
    assert levels(result) == {"event_mix": "info"}
    found = statistics(tmp_path)
    assert found["version"] == 1
    assert found["event_mix"] == {"view": 200}
    assert sum(found["events_per_day"].values()) == 200
    assert (found["users"]["distinct"], found["items"]["distinct"]) == (7, 11)
    price = found["tables"]["events"]["columns"]["price"]
    assert (price["min"], price["max"], price["quantiles"]["0.5"], price["mean"]) == (1, 5, 3, 3)
    assert sum(price["histogram"]["counts"]) == 200
    assert len(price["histogram"]["edges"]) == len(price["histogram"]["counts"]) + 1
    assert found["tables"]["items"]["columns"]["brand"]["top"] == [{"value": "x", "count": 11}]
    assert found["tables"]["items"]["columns"]["categories"]["top"][0]["count"] == 11
    assert found["tables"]["events"]["columns"]["query"]["null_rate"] == 1


def test_statistics_are_reproducible(tmp_path):
    for name in ("a", "b"):
        run(tmp_path / name)
    assert statistics(tmp_path / "a") == statistics(tmp_path / "b")


def test_report_shows_every_plot_and_escapes_user_input(tmp_path):
    data = healthy()
    attack = "<script>alert(1)</script> 燕麦奶 🥛"
    data["events"][0].update(event_type="search", query=attack)
    data["events"].append(event(5, item_id=attack))
    run(tmp_path, data, orphan_warning=0.0)
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert html.count("<svg") == 5
    assert "<script" not in html and "&lt;script&gt;" in html and "燕麦奶 🥛" in html


CASES = {
    "no events": (lambda d: d["events"].clear(), "enough_data", "events.* "),
    "one user": (lambda d: [e.update(user_id="u1") for e in d["events"]], "enough_data", "events.user_id"),
    "one item": (lambda d: [e.update(item_id="i1") for e in d["events"]], "enough_data", "events.item_id"),
    "no items": (lambda d: d["items"].clear(), "enough_data", "items.* "),
    "null users": (lambda d: [e.update(user_id=None) for e in d["events"]], "null_rate", "events.user_id"),
    "null times": (lambda d: [e.update(timestamp=None) for e in d["events"]], "null_rate", "events.timestamp"),
    "no item": (lambda d: d["events"][3].update(item_id=None), "null_rate", "events.item_id"),
    "unknown type": (lambda d: d["events"][3].update(event_type="teleport"), "event_mix", "events.event_type"),
    "future": (lambda d: [e.update(timestamp=e["timestamp"].replace(year=2027)) for e in d["events"]],
               "future_timestamps", "events.timestamp"),
    "one timestamp": (lambda d: [e.update(timestamp=START) for e in d["events"]], "time_span", "events.timestamp"),
    "NaN price": (lambda d: d["events"][3].update(price=float("nan")), "value_range", "events.price"),
    "infinite price": (lambda d: d["items"][3].update(price=float("inf")), "value_range", "items.price"),
    "negative price": (lambda d: d["items"][3].update(price=-1.0), "value_range", "items.price"),
    "negative quantity": (lambda d: d["events"][3].update(quantity=-1.0), "value_range", "events.quantity"),
    "duplicate items": (lambda d: d["items"].append(d["items"][0]), "unique_ids", "items.item_id"),
    "duplicate users": (lambda d: d["users"].append(d["users"][0]), "unique_ids", "users.user_id"),
    "repeated file": (lambda d: d["events"].extend(d["events"] * 2), "duplicate_events", "events.*"),
    "foreign catalog": (lambda d: [i.update(item_id="x" + i["item_id"]) for i in d["items"]],
                          "orphan_items", "events.item_id"),
    "vectors": (lambda d: [d["items"][n].update(content_vector=[1.0] * (n + 1)) for n in range(2)],
                "content_vectors", "items.content_vector"),
    "many rejected": (lambda d: d["rejected"].extend([{"table": "events", "reason": "user_id is null"}] * 100),
                      "rejected_share", "events.*"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "rule", "column"), CASES.values(), ids=CASES)
def test_error_for_bad_data_names_the_column_and_the_rule(tmp_path, damage, rule, column):
    data = healthy()
    damage(data)
    error = refusal_of(tmp_path, data)
    found = [f for f in statistics(tmp_path)["findings"] if f["level"] == "error"]
    assert (rule, column.strip()) in {(f["rule"], f["column"]) for f in found}
    assert error.headline.startswith(f"{found[0]['column']} violates the rule {found[0]['rule']}: ")
    assert "page.html" in error.fix


def test_error_shows_the_count_and_three_rows(tmp_path):
    data = healthy()
    for number in range(5):
        data["events"][number].update(price=-float(number + 1))
    error = refusal_of(tmp_path, data)
    assert "events.price violates the rule value_range: 5 rows (2.50%)" in error.headline
    assert error.fix.count('"user_id":') == 3 and '"price":-1.0' in error.fix


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        (lambda d: [i.update(title=None) for i in d["items"]], "null_rate"),
        (lambda d: d["events"][3].update(price=2e6), "value_range"),
        (lambda d: d["events"].extend(d["events"][:10]), "duplicate_events"),
        (lambda d: [e.update(item_id="strange") for e in d["events"][:5]], "orphan_items"),
        (lambda d: d["rejected"].extend([{"table": "events", "reason": "user_id is null"}] * 5), "rejected_share"),
        (lambda d: [e.update(timestamp=e["timestamp"].replace(day=1)) for e in d["events"]], "time_span"),
    ],
)
def test_minor_problems_are_warnings(tmp_path, damage, rule):
    data = healthy()
    damage(data)
    assert levels(run(tmp_path, data))[rule] == "warning"


def test_thresholds_are_configurable(tmp_path):
    data = healthy()
    data["events"].extend(data["events"][:10])
    assert "duplicate_events" not in levels(run(tmp_path, data, duplicate_warning=0.1))
    assert "duplicate_events" in refusal_of(tmp_path, data, duplicate_error=0.02).headline


def test_timestamps_a_few_hours_ahead_are_accepted(tmp_path):
    data = healthy()
    data["events"].append(event(1, timestamp=NOW + timedelta(hours=20)))
    assert "future_timestamps" not in levels(run(tmp_path, data))


def test_sizes_are_compared_with_the_previous_run(tmp_path):
    run(tmp_path / "first")
    data = healthy()
    data["events"] = data["events"][:80]
    result = run(tmp_path / "second", data, previous_statistics=str(tmp_path / "first" / "statistics"))
    assert [f.column for f in result.findings if f.rule == "size_against_previous"] == ["events.*"]
    data["events"] = data["events"][:15]
    with pytest.raises(DataError, match="size_against_previous"):
        run(tmp_path / "third", data, previous_statistics=str(tmp_path / "first" / "statistics" / "statistics.json"))


def test_wrong_schema_is_reported_as_a_finding(tmp_path):
    write(tmp_path, healthy())
    pq.write_table(pa.table({"user_id": [1]}), tmp_path / "users" / "part-1.parquet")
    with pytest.raises(DataError, match=r"users.\* violates the rule schema: users: column 'user_id' is int64"):
        validate(*[tmp_path / n for n in ("events", "items", "users")], tmp_path / "s.json", tmp_path / "page.html")
    assert json.loads((tmp_path / "s.json").read_text())["findings"][0]["rule"] == "schema"
    assert "<svg" not in (tmp_path / "page.html").read_text()


def test_unreadable_inputs_are_refused_and_leave_no_output(tmp_path):
    write(tmp_path, healthy())
    paths = [tmp_path / name for name in ("events", "items", "users", "statistics")]
    with pytest.raises(InputError, match="has no Parquet file"):
        validate(tmp_path / "absent", *paths[1:], tmp_path / "page.html")
    (tmp_path / "old.json").write_text("{}")
    with pytest.raises(InputError, match="not of layout 1"):
        validate(*paths, tmp_path / "page.html", ValidationOptions(previous_statistics=str(tmp_path / "old.json")))
    file = tmp_path / "items" / "part-0.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[:40])
    with pytest.raises(InputError, match="is not Parquet"):
        validate(*paths, tmp_path / "page.html")
    file.write_bytes(whole[:4] + b"\xff" * 60 + whole[64:])
    with pytest.raises(InputError, match="cannot be read"):
        validate(*paths, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists() and not (tmp_path / "statistics").exists()


def test_small_data_without_titles_and_sessions_only_warns(tmp_path):
    """Six events of two users; titles and sessions are missing, which is only a warning."""
    times = [datetime(2021, 1, day, 10, minute, tzinfo=UTC) for day in (1, 2) for minute in (0, 5, 10)]
    kinds = ["search", "view", "purchase"] * 2
    events = [
        {"user_id": str(1 + n // 3), "item_id": str(1001 + n), "event_type": kinds[n], "timestamp": times[n]}
        for n in range(6)
    ]
    data = {"events": events, "items": [{"item_id": str(1001 + n)} for n in range(6)]}
    result = run(tmp_path, {**data, "users": [{"user_id": "1"}, {"user_id": "2"}], "rejected": []})
    assert {f.level for f in result.findings} == {"info", "warning"}
    assert {f.rule for f in result.findings if f.level == "warning"} == {"null_rate"}


def test_one_row_is_told_in_the_singular(tmp_path):
    data = healthy()
    headline = refusal_of(tmp_path, {**data, "events": data["events"][:1]}).headline
    assert "events.* violates the rule enough_data: 1 row; 2 or more are needed" in headline, headline
    messages = {finding["message"] for finding in statistics(tmp_path)["findings"]}
    assert "1 different value; 2 or more are needed" in messages
    assert any(message.startswith("the only event is at ") for message in messages), messages


def test_page_has_the_account_of_the_source(tmp_path):
    data = healthy()
    data["rejected"] = [{"table": "events", "reason": "event_type is unknown"}] * 2
    write(tmp_path, data)
    lost = {"event_type is unknown": Lost(rows=2, values={"<b>buy</b>": 2})}
    events = TableAccount(
        rows=202, kept=200, rejected=lost, unread={"price": Lost(rows=1, values={"cheap": 1})}, files=3,
        skipped={"name begins with '_' or '.'": 4}, skipped_names={"name begins with '_' or '.'": ("_temporary/0",)},
    )  # fmt: skip
    write_account({"events": events}, tmp_path / "rejected")
    paths = [tmp_path / name for name in ("events", "items", "users", "statistics")]
    validate(*paths, tmp_path / "page.html", rejected=tmp_path / "rejected")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for part in ("Account of the source", "events: event_type is unknown", "&lt;b&gt;buy&lt;/b&gt; (2)",
                 "events: price is unknown", "cheap (1)", "Files not read", "_temporary/0", ">202<"):  # fmt: skip
        assert part in page, part


def test_kfp_component(tmp_path):
    write(tmp_path, healthy())
    inputs = {name: Dataset(uri=str(tmp_path / name)) for name in ("events", "items", "users", "rejected")}
    artifact, page = Artifact(uri=str(tmp_path / "statistics")), HTML(uri=str(tmp_path / "report"))
    summary = Metrics(uri=str(tmp_path / "summary"))
    validate_data.python_func(**inputs, statistics=artifact, report=page, summary=summary)
    assert summary.metadata == {"events": 200, "items": 11, "users": 7, "warnings": 0}
    assert artifact.metadata["code_version"] == VERSION
    assert (tmp_path / "report").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert statistics(tmp_path)["tables"]["events"]["rows"] == 200


def test_missing_content_vectors_are_accepted_and_a_mismatch_is_refused(tmp_path):
    data = healthy()
    for item, vector in zip(data["items"], [[0.1, 0.2], [], None, [0.3, 0.4]], strict=False):
        item["content_vector"] = vector
    run(tmp_path / "fine", data)
    data["items"][3]["content_vector"] = [0.3]
    error = refusal_of(tmp_path, data)
    assert error.headline.startswith("items.content_vector violates the rule content_vectors: 1 row ")
    assert f'"item_id":"{data["items"][3]["item_id"]}"' in error.fix and "leave the column" in error.fix
