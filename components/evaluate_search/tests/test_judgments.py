"""Files of judgments and clicks: formats, names of columns, rows that are left out, and what is refused."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.evaluate_search.config import SearchEvaluationOptions
from components.evaluate_search.judgments import read_judgments
from components.shared.errors import InputError, SchemaError

OPTIONS = SearchEvaluationOptions()
GRADES = {"green tea": {"10": 3.0, "b": 0.0}, "奶": {"10": 1.5}}


def read(path, **options):
    return read_judgments(str(path), SearchEvaluationOptions(**options))


def in_csv(folder, names=("query", "item_id", "grade"), separator=","):
    lines = [names, ("green tea", "10.0", "3"), (" green tea ", "b", "0.0"), ("奶", "10", "1.5")]
    path = folder / "judgments.csv"
    path.write_text("\n".join(separator.join(line) for line in lines), encoding="utf-8")
    return path


def in_json(folder):
    path = folder / "judgments.jsonl.gz"
    rows = [("green tea", 10, 3), ("green tea", "b", 0), ("奶", "10", "1.5")]
    lines = [json.dumps(dict(zip(("query", "docid", "rating"), row, strict=True))) for row in rows]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


def in_parquet(folder):
    path = folder / "judgments.parquet"
    columns = {
        "other": [1, 2, 3],
        "Query": pa.array(["green tea", "green tea", "奶"]).dictionary_encode(),
        "product_id": pa.array(["10", "b", "10"], pa.large_string()),
        "label": pa.array([3, 0, 1.5], pa.float32()),
    }
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("write", [in_csv, in_json, in_parquet])
def test_formats_and_names_of_columns_make_no_difference(tmp_path, write):
    found = read(write(tmp_path))
    assert found.grades == GRADES and found.kind == "grades" and found.account.kept == 3


@pytest.mark.parametrize("names", [("Query", "Doc ID", "Relevance"), ("query", "doc_id", "rating")])
def test_other_spellings_and_separators(tmp_path, names):
    assert read(in_csv(tmp_path, names, "\t")).grades == GRADES


def test_rows_that_cannot_be_used_are_counted_with_their_values(tmp_path):
    lines = [
        "query,item_id,grade", "tea,1,3", "tea,1,3", "tea,1,2", "tea,2,-1", "tea,3,good", "tea,4,", ",5,1",
        "tea,null,1", "tea,6,nan", "tea,7,1e999", "tea,8", "null,9,2",
    ]  # fmt: skip
    (tmp_path / "j.csv").write_text("\n".join(lines))
    found = read(tmp_path / "j.csv")
    assert found.grades == {"tea": {"1": 3.0}, "null": {"9": 2.0}}, "the maximum counts; a query may be any word"
    assert (found.repeated, found.conflicting) == (2, 1)
    account = found.account
    assert account.rows == 12 and account.kept == 4
    assert {reason: lost.rows for reason, lost in account.rejected.items()} == {
        "grade is negative": 1, "grade cannot be read": 3, "grade is missing": 1, "query is missing": 1,
        "item_id is missing": 1, "line has 2 fields, the header 3": 1,
    }  # fmt: skip
    assert account.rejected["grade is negative"].values == {"-1": 1}
    assert "2 rows repeat a query and item, 1 of them with another grade: the maximum counts" in found.sentences()


def test_json_values_of_other_types_are_rejected_and_not_fatal(tmp_path):
    rows = [
        '{"query": ["tea"], "item_id": "1", "grade": 1}', '{"query": "tea", "item_id": {"a": 1}, "grade": 1}',
        '{"query": "tea", "item_id": "1", "grade": [1]}', '{"query": 42, "item_id": 7, "grade": true}',
        '{"query": "a\\ud800", "item_id": "\\udc00b", "grade": 1}', '{"query": "tea"}', "[1]", "{broken",
    ]  # fmt: skip
    (tmp_path / "j.jsonl").write_text("\n".join(rows))
    found = read(tmp_path / "j.jsonl")
    assert found.grades == {"42": {"7": 1.0}, "a?": {"?b": 1.0}} and found.account.rows == 8


@pytest.mark.parametrize(
    ("content", "headline", "fix"),
    [
        ("", "j.csv is empty", "header"),
        ("query,item_id,grade\n", "have no rows", "at least one query"),
        ("query,item,grade\ntea,1,3\n", "no column 'item_id' (or docid, doc_id, product_id)", "item"),
        ("q,item_id,grade\ntea,1,3\n", "no column 'query'", "item_id, q"),
        ("query,item_id\ntea,1\n", "no column 'grade' (or rating, relevance, label)", "query"),
        ("query,clicks\ntea,1\n", "no column 'item_id'", "clicks"),
        ("query,item_id,grade\ntea,1,-1\n", "no row of judgments", "a grade of 0 or more"),
        ("query,item_id,clicks\ntea,1,none\n", "no row of judgments", "a number of clicks"),
        ("query,item_id,grade\ntea,1,100\n", "have grade 100, above 20", "0 to 3"),
    ],
)
def test_a_file_without_judgments_is_refused_with_a_fix(tmp_path, content, headline, fix):
    (tmp_path / "j.csv").write_text(content)
    with pytest.raises(InputError) as raised:
        read(tmp_path / "j.csv")
    assert headline in raised.value.headline and fix in raised.value.fix


def test_missing_and_broken_files_are_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"judgments '.*nothing\.csv' does not exist") as raised:
        read(tmp_path / "nothing.csv")
    assert "complete-journey" not in raised.value.fix
    (tmp_path / "j.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InputError, match=r"j\.parquet cannot be read as Parquet"):
        read(tmp_path / "j.parquet")
    (tmp_path / "two.csv").write_text("query,grade,grade\na,1,2\n")
    with pytest.raises(SchemaError, match="two columns named 'grade'"):
        read(tmp_path / "two.csv")


def test_a_folder_is_read_whole_and_what_is_skipped_is_told(tmp_path):
    in_csv(tmp_path)
    (tmp_path / "more.jsonl").write_text('{"query": "tea", "item_id": "1", "relevance": 2}\n')
    (tmp_path / "notes.txt").write_text("hello")
    found = read(tmp_path)
    assert found.grades == {**GRADES, "tea": {"1": 2.0}}
    assert found.account.files == 2 and sum(found.account.skipped.values()) == 1


def test_clicks_become_shares_of_the_best_rate(tmp_path):
    path = tmp_path / "clicks.csv"
    path.write_text("query,item_id,clicks\ntea,a,60\ntea,a,38\ntea,b,49\ntea,c,0\nrare,d,1\n")
    found = read(path)
    top = 3 * 98 / 100
    assert found.kind == "clicks" and found.repeated == 1
    assert found.grades["tea"] == pytest.approx({"a": top, "b": top / 2, "c": 0.0})
    assert found.grades["rare"] == pytest.approx({"d": 1.0}), "a single click is no proof of relevance"
    assert any("positions of the items are not known" in sentence for sentence in found.sentences())


def test_impressions_make_rates_of_clicks(tmp_path):
    path = tmp_path / "clicks.csv"
    path.write_text("query,item_id,clicks,impressions\ntea,a,90,990\ntea,b,50,90\ntea,c,1,1\n")
    found = read(path, click_prior=0.0).grades["tea"]
    assert found == pytest.approx({"a": 3 * 0.09 / 0.5, "b": 3.0, "c": 3 / 11 / 0.5})
    assert found["c"] < found["b"], "one click of one impression is weak evidence"
    path.write_text("query,item_id,clicks,impressions\ntea,a,90,990\ntea,b,45,\n")
    assert read(path, click_prior=0.0).grades["tea"] == pytest.approx({"a": 3.0, "b": 1.5})
    path.write_text("query,item_id,clicks\ntea,a,0\ntea,b,0\n")
    assert read(path, click_prior=0.0).grades["tea"] == {"a": 0.0, "b": 0.0}


def test_queries_alone(tmp_path):
    (tmp_path / "q.csv").write_text("query,count\ntea,3\n milk,2\ntea,1\n\n")
    found = read(tmp_path / "q.csv")
    assert found.kind == "queries" and list(found.grades) == ["tea", "milk"] and found.repeated == 1


def test_items_that_are_not_in_the_catalog_are_counted_and_named(tmp_path):
    found = read(in_csv(tmp_path))
    kept = found.within({"b"})
    assert kept.grades == {"green tea": {"b": 0.0}, "奶": {}} and kept.unknown == {"10": 2}
    assert "2 judgments of 1 item that are not in the catalog are left out: 10" in kept.sentences()
    with pytest.raises(InputError, match=r"no judged item of .* is in the catalog; judged are: 10, b"):
        found.within({"x"})
