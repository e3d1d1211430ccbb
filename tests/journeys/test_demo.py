"""Results of the demo: stages, answers, report, champion and artifacts."""

import dataclasses
import json
import re

import pytest

from components.shared.release.registry import Registry
from pipelines.local.demo import report
from pipelines.local.runs import Run

pytestmark = pytest.mark.slow


def test_progress_of_every_stage_is_printed(demo):
    stages = re.findall(r"^✓ ([\w-]+) +\d+\.\d s", demo.printed, re.MULTILINE)
    assert stages == [
        "check-parameters", "ingest-events", "validate-data", "build-features", "train-retriever", "train-ranker",
        "evaluate-model", "compile-model", "register-model", "validate-serving", "deploy-model",
    ]  # fmt: skip
    assert stages == [name for name, _ in Run.read(demo.out).stages]


def test_three_example_requests_are_answered_with_reasons_and_prices(demo):
    text = demo.printed
    known, search, unknown = (
        text.index("What should shopper"),
        text.index("searches for 'milk'"),
        text.index("An unknown shopper"),
    )
    assert known < search < unknown
    assert re.search(r"bought \d+ times", text[known:search])
    assert len(re.findall("matches 'milk'", text[search:unknown])) >= 3
    assert "unknown shopper: answered as for a new shopper" in text[unknown:]
    assert len(re.findall(r"│ +\d+\.\d\d", text)) >= 15


def test_the_report_is_one_self_contained_page(demo):
    page = (demo.out / "report.html").read_text()
    assert page.count("<svg") >= 6 and "http://" not in re.sub(r'xmlns(:\w+)?="[^"]+"|<!DOCTYPE[^>]+>', "", page)
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']?(https?:|//)", page)
    for heading in ("Example answers", "Comparison with simple methods", "Decision", "The data", "Compiled model"):
        assert heading in page


def test_report_of_a_run_without_a_size_names_none(demo, tmp_path):
    finished = dataclasses.replace(Run.read(demo.out), arguments={})
    page = report(finished, tmp_path / "report.html", []).read_text()
    assert "shoprank run training" in page and "--size" not in page


def test_champion_is_signed_and_records_its_lineage(demo):
    champion = Registry(demo.out / "registry").resolve("shop/champion")
    manifest = json.loads((champion / "bundle.json").read_text())
    assert manifest["lineage"]["source"] == "complete-journey" and (champion / "bundle.sig").exists()
    assert manifest["metrics"] and manifest["schema_hash"]


def test_stages_exchange_no_pickles(demo):
    suffixes = [path.suffix for path in (demo.out / "runs").rglob("*") if path.is_file()]
    assert {".parquet", ".json", ".npy", ".safetensors", ".onnx"} <= set(suffixes)
    assert not {".pkl", ".pickle", ".pt", ".pth", ".joblib"} & set(suffixes)
