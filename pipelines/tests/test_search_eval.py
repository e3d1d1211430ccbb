"""`shoprank search-eval`: a catalog alone, the model of a run folder, a champion, and what is refused."""

import json
import shutil

import pytest

from components.evaluate_search.tests.small_shop import ITEMS, JUDGMENTS, write
from components.shared.release.registry import Registry
from serving.tests.handmade import write_bundle


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """Current folder with items.csv, whose columns have other names, mapping.yaml and judgments.jsonl."""
    monkeypatch.chdir(tmp_path)
    lines = ["sku;name;text;maker;path", *(";".join(item) for item in ITEMS)]
    (tmp_path / "items.csv").write_text("\n".join(lines), encoding="utf-8")
    mapping = {"item_id": "sku", "title": "name", "description": "text", "brand": "maker", "categories": "path"}
    text = "items:\n" + "".join(f"  {ours}: {theirs}\n" for ours, theirs in mapping.items())
    (tmp_path / "mapping.yaml").write_text(text)
    write(tmp_path / "judgments.jsonl", ("query", "item_id", "grade"), JUDGMENTS)
    return tmp_path


ITEM_FLAGS = ("--judgments", "judgments.jsonl", "--items", "items.csv", "--mapping", "mapping.yaml")


@pytest.fixture(scope="session")
def signed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("signed")
    return write_bundle(folder / "bundle", folder / "signing.pem")


@pytest.fixture
def trained(shop, signed):
    """Output folder whose champion is the handmade model, with the key that signed it."""
    registry = Registry(shop / "out" / "registry")
    registry.promote("handmade", registry.add(signed))
    (shop / "out" / "keys").mkdir()
    shutil.copy(signed.parent / "signing.pem.pub", shop / "out" / "keys" / "signing.pem.pub")
    write(shop / "judgments.jsonl", ("query", "item_id", "grade"), [("oat milk", "oat", 3), ("cheese", "gone", 2)])
    return shop / "out"


def test_a_catalog_alone_is_measured_without_a_model(shoprank, shop):
    done = shoprank("search-eval", *ITEM_FLAGS)
    assert done.code == 0, done.err
    table = {line.split("│")[0].strip(): line.split("│") for line in done.out.splitlines() if "│" in line}
    assert set(table) == {"bm25", "shoprank"} and table["bm25"][6].strip() == "0.2500"
    assert " to " in table["shoprank"][7] and not table["bm25"][7].strip()
    assert "means over 3 queries with a relevant item; zero results over all 4" in done.out
    folder = shop / "out" / "search-evaluation"
    assert {path.name for path in folder.iterdir()} == {"search_evaluation.json", "queries.parquet", "report.html"}
    assert f"report: {folder / 'report.html'}" in done.out
    assert not list(shop.glob("*progress*")) and "progress" not in done.out


def test_ablation_shows_each_step(shoprank, shop):
    done = shoprank("search-eval", *ITEM_FLAGS, "--ablation")
    assert done.code == 0, done.err
    rows = {line.split("│")[0].strip() for line in done.out.splitlines() if "│" in line}
    assert {"spelling", "field weights", "stemming"} <= rows and "meaning" not in rows
    assert "the search has no synonyms or meaning or relevance to switch off" in done.out


def test_json_has_the_figures_and_the_page(shoprank, shop):
    done = shoprank("search-eval", *ITEM_FLAGS, "--json", "--relevant-grade", 3)
    found = json.loads(done.out)
    assert found["scored_queries"] == 2 and found["report"].endswith("report.html")
    assert found["systems"]["shoprank"].keys() >= {
        "ndcg_at_10",
        "judged_at_10",
        "rerank_ndcg_at_10",
        "zero_result_rate",
    }


def test_the_model_of_the_run_folder_is_measured(shoprank, trained):
    done = shoprank("search-eval", "--judgments", "judgments.jsonl", "--model-name", "handmade", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["models"]["shoprank"].startswith("20231114-") and found["catalog"]["items"] == 40
    assert found["systems"]["shoprank"]["ndcg_at_10"] == 0.5, "what is not available is not found"


@pytest.mark.parametrize("champion", ["bundle", "output folder"])
def test_queries_alone_are_compared_with_a_champion(shoprank, shop, trained, signed, champion):
    (shop / "queries.csv").write_text("query\nmilk\nsnack\n")
    given = signed if champion == "bundle" else trained
    done = shoprank(
        "search-eval", "--judgments", "queries.csv", "--champion", given, "--model-name", "handmade", "--public-key",
        signed.parent / "signing.pem.pub",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert (
        "against the champion: overlap@10 1.0000, rank-biased overlap 1.0000, churn 0.0000, over 2 queries" in done.out
    )


def test_what_was_left_out_is_told_without_control_characters(shoprank, shop):
    rows = [*JUDGMENTS, ("tea", "9\x1b[2J[red]", 1), ("tea", "2", "very\x1b]0;x")]
    write(shop / "judgments.jsonl", ("query", "item_id", "grade"), rows)
    done = shoprank("search-eval", *ITEM_FLAGS)
    assert done.code == 0, done.err
    assert "\x1b" not in done.out and "not in the catalog are left out: 9\ufffd[2J[red]" in done.out
    assert "grade cannot be read: 1 ('very" in done.out


@pytest.mark.parametrize(
    ("arguments", "headline", "fix"),
    [
        (("--judgments", "judgment.jsonl", "--items", "items.csv"), "judgments 'judgment.jsonl' does not exist", "a"),
        (("--judgments", "judgments.jsonl", "--items", "item.csv"), "source 'item.csv' does not exist", "file"),
        (("--judgments", "judgments.jsonl", "--items", "items.csv"), "no column 'item_id'", "items.item_id"),
        (("--judgments", "judgments.jsonl"), "there is no shoprank output in 'out'", "--out of an earlier run"),
        (("--judgments", "judgments.jsonl", "--out", "elsewhere"), "no shoprank output in 'elsewhere'", "--out"),
        ((*ITEM_FLAGS, "--champion", "nowhere"), "--champion nowhere contains neither", "folder of a bundle"),
        ((*ITEM_FLAGS, "--relevant-grade", "0"), "relevant_grade is 0", "above 0"),
        ((*ITEM_FLAGS[:4], "--mapping", "map.yml"), "--mapping map.yml: there is no such file", "YAML"),
        ((*ITEM_FLAGS[:4], "--mapping", "broken.yaml"), "--mapping broken.yaml is not YAML", "user_id: visitor"),
        ((*ITEM_FLAGS[:4], "--mapping", "list.yaml"), "--mapping list.yaml is a list, not an object", "object"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_fix_and_creates_nothing(shoprank, shop, arguments, headline, fix):
    (shop / "broken.yaml").write_text("a: [1\n")
    (shop / "list.yaml").write_text("- a\n")
    before = sorted(shop.rglob("*"))
    done = shoprank("search-eval", *arguments)
    assert done.code == 2 and headline in done.err and fix in done.err, done.err
    assert sorted(shop.rglob("*")) == before


def test_judged_queries_are_made_from_a_catalog_and_measured(shoprank, shop):
    made = ("search-queries", "made.parquet", "--items", "items.csv", "--mapping", "mapping.yaml")
    done = shoprank(*made)
    assert done.code == 0 and "say nothing of quality" in done.out, done.err
    done = shoprank("search-eval", "--judgments", "made.parquet", *ITEM_FLAGS[2:], "--json")
    assert done.code == 0 and json.loads(done.out)["scored_queries"] > 0
    refused = shoprank(*made)
    assert refused.code != 0 and "made.parquet exists" in refused.err
