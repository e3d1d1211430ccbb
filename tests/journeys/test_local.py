"""From the demo to a request, the report, a refreshed catalog, a rollback and the audit log, as the READMEs say."""

import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from components.shared.release.registry import Registry
from components.shared.schema.tables import ITEMS
from components.validate_serving.predictor import PredictorConfig, running
from pipelines.cli.asking import ask
from tests.journeys.blocks import blocks
from tests.journeys.journey import Journey, same_shape

pytestmark = pytest.mark.slow

OUTPUT = "README.md#two-commands:text"


def test_the_demo_prints_what_the_readme_shows(demo):
    shown = blocks()[OUTPUT].text
    stages = re.findall(r"^✓ ([\w-]+)", shown, re.MULTILINE)
    assert len(stages) >= 9 and [stage for stage in stages if f"✓ {stage}  " not in demo.printed] == []
    assert "searches for 'milk'" in demo.printed and "matches 'milk'" in demo.printed
    assert re.search(r"done in \d+ s: open out/report.html", demo.printed)
    assert (demo.out / "report.html").stat().st_size > 10_000


def test_request_refresh_rollback_and_audit(demo, tmp_path):
    out = demo.copy(tmp_path)
    with Journey("local", tmp_path) as journey:
        output = journey.run("README.md#one-request-and-its-answer:sh")
        assert "matches 'milk'" in output
        answer = json.loads(output.splitlines()[-1])
        same_shape(answer, json.loads(blocks()["README.md#one-request-and-its-answer:json"].text))
        assert "matches 'milk'" in answer["predictions"][0]["items"][0]["reasons"]
        journey.stop_serving()

        journey.run("pipelines/README.md#run-locally:sh")
        assert "<svg" in next(out.rglob("runs/*/report.html")).read_text(encoding="utf-8")

        first = Registry(out / "registry").aliases("shop")["champion"]
        item = {"item_id": "new-1", "title": "Zyxgold oat drink", "categories": ["GROCERY"], "price": 2.5}
        pq.write_table(pa.Table.from_pylist([item], ITEMS), tmp_path / "items.parquet")
        assert "champion is " in journey.run("README.md#one-request-and-its-answer:sh2")
        assert Registry(out / "registry").aliases("shop")["previous"] == first
        with running(Registry(out / "registry").resolve("shop/champion"), PredictorConfig()) as predictor:
            found = ask(predictor.url, {"query": "zyxgold"}, predictor.name)
        assert "Zyxgold oat drink" in [item["title"] for item in found["items"]]
        journey.run("README.md#one-request-and-its-answer:sh3")
        assert Registry(out / "registry").aliases("shop")["champion"] == first

        (tmp_path / "bundle").symlink_to(Registry(out / "registry").resolve("shop/champion"))
        printed = journey.run("manifests/README.md#registry-audit-and-other-stores:sh")
        assert "rollback" in printed and "verified" in printed and (tmp_path / "image/index.json").exists()

        journey.run("pipelines/README.md#configuration:sh")
        options = yaml.safe_load((tmp_path / "shop.yaml").read_text(encoding="utf-8"))
        schema = json.loads((tmp_path / "shop.schema.json").read_text(encoding="utf-8"))
        assert {
            "data",
            "features",
            "retriever",
            "ranker",
            "training",
            "compile",
            "release",
            "rollout",
        } <= options.keys()
        assert options.keys() <= schema["properties"].keys()

        assert "is current" in journey.run("pipelines/README.md#compile-and-lint:sh")


def test_a_rollback_without_an_earlier_champion_is_refused_with_a_fix(demo, tmp_path):
    demo.copy(tmp_path)
    with Journey("none", tmp_path) as journey:
        printed = journey.shell("shoprank rollback", code=1)
        assert "fix:" in printed and "Traceback" not in printed
