"""The report of a run: every section of a complete run, only finished stages of others, no network access."""

import re

import pytest

from components.shared.errors import InputError
from components.shared.evaluation.decision import Decision
from components.shared.release.proof import PROOF
from components.shared.report.run_report import RunFolders, write_report
from components.shared.storage import read_json, write_json

ANSWERS = (
    {
        "title": "What should shopper <7> see?",
        "request": {"user_id": "<7>", "k": 2},
        "items": [
            {"title": "燕麦奶 🥛 <b>", "price": 2.5, "score": 0.8, "reasons": ["bought 6 times, last 9 days ago"]},
            {"title": "Bread", "price": None, "score": 0.2, "reasons": []},
        ],
    },
    {"title": "Nothing found", "request": {"query": "zzz"}, "items": []},
)
STAGES = (("ingest-events", 1.5), ("train-ranker", 20.25))


@pytest.fixture
def proof(tmp_path):
    write_json(tmp_path / "proof" / PROOF, {
        "name": "shop", "version": "20180101-ab12", "content": "x", "golden": 10, "max_score_difference": 1e-7,
        "requests": 300, "p50_ms": 12.3, "p99_ms": 21.0, "memory_mb": 512.0, "startup_s": 4.2, "max_p99_ms": 200.0,
        "max_memory_mb": 2000.0,
    })  # fmt: skip
    return tmp_path / "proof"


def _headings(html):
    return re.findall(r"<h2>(.*?)</h2>", html)


@pytest.mark.slow
def test_report_of_a_complete_run_has_every_section(tiny_run, proof, tmp_path):
    run = RunFolders(
        rejected=tiny_run.rejected, statistics=tiny_run.statistics, features=tiny_run.features,
        retriever=tiny_run.retriever,
        ranker=tiny_run.ranker, evaluation=tiny_run.evaluation, compiled=tiny_run.compiled, proof=proof,
        answers=ANSWERS, stages=STAGES, command="shoprank run training --size tiny", commit="0123abc",
    )  # fmt: skip
    write_report(run, tmp_path / "out" / "report.html")
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert _headings(html) == [
        "Summary", "Example answers", "Comparison with simple methods", "Decision", "Slices",
        "The ranker&#39;s probabilities", "The data",
        "From the source to the training", "Training", "Compiled model", "Serving proof",
        "Durations",
    ]  # fmt: skip
    assert html.count("<svg") == 8
    assert (
        "the ranker is then trained again for as many epochs on all windows" in html and "ranker, all windows" in html
    )
    for text in ("Blessed", "personal frequency", "21.0 ms", "commit 0123abc", "shoprank run training --size tiny"):
        assert text in html
    assert f"{read_json(tiny_run.statistics / 'statistics.json')['tables']['events']['rows']:,}" in html


def test_answers_are_escaped_and_an_unknown_price_stays_empty(tmp_path):
    write_report(RunFolders(answers=ANSWERS), tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<b>燕麦奶 🥛 &lt;b&gt;</b><span>2.50</span>" in html
    assert "<b>Bread</b><span></span>" in html
    assert 'style="width:100.0%"' in html and 'style="width:25.0%"' in html
    assert "bought 6 times, last 9 days ago" in html
    assert "shopper &lt;7&gt;" in html


def test_report_of_a_partial_run_has_only_its_sections(tmp_path):
    write_report(RunFolders(stages=STAGES), tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert _headings(html) == ["Summary", "Durations"]
    assert "22 s" in html


def test_report_loads_no_external_resources(tmp_path):
    write_report(RunFolders(answers=ANSWERS, stages=STAGES), tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!#)', html)
    assert "<script" not in html and "@import" not in html


@pytest.mark.slow
def test_report_of_a_refused_run_shows_the_decision_before_its_reasons(tiny_run, tmp_path):
    result = read_json(tiny_run.evaluation / "metrics.json")
    result["checks"].insert(0, {"rule": "min_auc", "passed": False, "decides": True, "sentence": "AUC is 0.51."})
    write_json(tmp_path / "evaluation" / "metrics.json", result)
    Decision(False, ("AUC is 0.51.",), {}).write(tmp_path / "evaluation")
    write_report(RunFolders(evaluation=tmp_path / "evaluation"), tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert html.index("Refused") < html.index("AUC is 0.51.")
    assert f"1 of {len(result['checks'])} release gates failed" in html


def test_error_for_a_missing_file_names_it(tmp_path):
    (tmp_path / "compiled").mkdir()
    with pytest.raises(InputError, match=re.escape("compile.json")):
        write_report(RunFolders(compiled=tmp_path / "compiled"), tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
