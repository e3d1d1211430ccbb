"""The evaluation of a small shop: figures by hand, files, page, and what is refused."""

import math
import re
from xml.etree import ElementTree

import pytest

from components.evaluate_search.catalog import items_catalog
from components.evaluate_search.component import evaluate_search as component
from components.evaluate_search.evaluate import Searched
from components.evaluate_search.systems import PlainBm25, catalog_systems, plain_tokens
from components.evaluate_search.tests.small_shop import ITEMS, JUDGMENTS, write
from components.shared.errors import BundleError, InputError
from components.shared.release.registry import Registry
from components.shared.release.signing import create_key, public_path
from components.shared.search.config import SearchOptions
from serving.tests.handmade import write_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("champion")
    return write_bundle(folder / "bundle", folder / "key.pem")


def test_figures_follow_from_the_judgments(evaluate):
    found = evaluate()
    bm25, shoprank = (found.result["systems"][name] for name in ("bm25", "shoprank"))
    assert found.result["queries"] == 4 and found.result["scored_queries"] == 3
    rows = {row["query"]: row for row in found.queries}
    assert rows["燕麦奶"]["bm25_ndcg_at_10"] == rows["燕麦奶"]["shoprank_ndcg_at_10"] == 1.0
    assert rows["clayworks"]["bm25_results"] == 0 and rows["clayworks"]["bm25_ndcg_at_10"] == 0.0
    assert rows["clayworks"]["shoprank_item_ids"] == ["3", "6", "8"], "equally good items keep their order"
    gained, ideal = 3 + 1 / math.log2(4), 3 + 1 / math.log2(3)
    assert rows["clayworks"]["difference_to_bm25"] == pytest.approx(gained / ideal)
    assert rows["clayworks"]["shoprank_rerank_ndcg_at_10"] == 1.0 and rows["clayworks"]["shoprank_recall_at_100"] == 1.0
    assert rows["steel"]["shoprank_ndcg_at_10"] is None and rows["steel"]["bm25_results"] == 1
    assert (bm25["zero_result_rate"], shoprank["zero_result_rate"]) == (0.25, 0.0)
    assert shoprank["ndcg_at_10"] == pytest.approx(
        sum(rows[q]["shoprank_ndcg_at_10"] for q in ("tea", "clayworks", "燕麦奶")) / 3
    )
    difference = found.result["differences"]["bm25"]
    assert difference["mean"] == pytest.approx(shoprank["ndcg_at_10"] - bm25["ndcg_at_10"])
    assert difference["better"] + difference["worse"] + difference["equal"] == 3
    assert next(row["query"] for row in found.queries) == "clayworks" and found.queries[-1]["query"] == "steel"


def test_the_same_evaluation_gives_the_same_files(evaluate):
    assert evaluate(seed=3).result == evaluate(seed=3).result


def test_threshold_decides_what_is_relevant(evaluate):
    found = evaluate(relevant_grade=3.0)
    assert found.result["scored_queries"] == 2
    with pytest.raises(InputError, match=r"no query of .* has an item of grade 9 or more"):
        evaluate(relevant_grade=9.0)


def test_plain_bm25_is_its_formula(shop):
    catalog = items_catalog(str(shop / "items.jsonl"), {})
    documents = [plain_tokens(f"{title} {description}") for _, title, description, *_ in ITEMS]
    mean = sum(map(len, documents)) / len(documents)

    def score(document, query):
        total = 0.0
        for word in query.split():
            holding = sum(word in other for other in documents)
            idf = math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
            count = document.count(word)
            total += idf * count / (count + 1.2 * (0.25 + 0.75 * len(document) / mean))
        return total

    for query in ("tea", "oat milk tea", "coffee beans unknown"):
        scores = {item[0]: score(document, query) for item, document in zip(ITEMS, documents, strict=True)}
        expected = sorted((name for name in scores if scores[name] > 0), key=lambda name: -scores[name])
        assert PlainBm25(catalog).search(query, 100) == expected
        assert PlainBm25(catalog).search(query, 2) == expected[:2]


def test_systems_answer_nothing_to_unknown_words_and_rank_all_that_they_are_given(shop):
    catalog = items_catalog(str(shop / "items.jsonl"), {})
    for system in catalog_systems(catalog, SearchOptions()).values():
        assert system.search("!?", 10) == system.search("", 10) == system.search("zeppelin", 10) == []
        assert system.rank("zeppelin", ["8", "1", "3"]) == ["8", "1", "3"]
        assert system.rank("tea", ["8", "1", "7"])[0] == "1"


def test_catalog_without_any_word_is_searched_without_result(shop, evaluate):
    write(shop / "blank.jsonl", ("item_id", "title"), [("1", "!"), ("2", "")])
    found = evaluate(items=shop / "blank.jsonl")
    assert found.result["systems"]["bm25"]["zero_result_rate"] == 1.0
    assert any("not in the catalog are left out" in note for note in found.notes)


def test_several_rows_of_an_item_are_one_with_the_last_values(shop, evaluate):
    rows = [("1", "Old name", "about tea"), ("1", "New name", None), ("2", "Other", None)]
    catalog = items_catalog(str(write(shop / "twice.jsonl", ("item_id", "title", "description"), rows)), {})
    assert catalog.item_id == ["1", "2"] and catalog.texts("title", "description") == ["New name about tea", "Other "]


def test_page_is_self_contained_and_escapes_what_it_quotes(shop, evaluate):
    evil = "<script>alert(1)</script>\x1b[2J tea"
    write(shop / "items.jsonl", ("item_id", "title"), [("1", f"{evil}"), ("2", "tea")])
    write(shop / "judgments.jsonl", ("query", "item_id", "grade"), [(evil, "1", 3), ("tea & <b>", "2", 1)])
    page = evaluate().page
    assert "<script" not in page and "&lt;script&gt;" in page and "\x1b" not in page and "tea &amp; &lt;b&gt;" in page
    assert re.findall(r'(?:src|href)="(?!#)', page) == []
    ElementTree.fromstring(re.sub(r"<(meta|link)([^>]*)>", r"<\1\2/>", page.split("\n", 1)[1]))


def test_queries_that_gained_and_lost_are_shown_with_titles_and_grades(evaluate):
    page = evaluate(examples=1).page
    assert "Most improved" in page and "Most worsened" in page
    gained = page.split("Most improved")[-1].split("Most worsened")[0]
    assert "clayworks: nDCG@10" in gained and "Tea pot" in gained and "燕麦奶" not in gained


def test_champion_is_compared_query_by_query(shop, evaluate, bundle):
    write(shop / "judgments.jsonl", ("query", "item_id", "grade"), [("tea", "1", 3), ("oat milk", "4", 2)])
    found = evaluate(searched=Searched(items=str(shop / "items.jsonl"), champion=bundle))
    assert found.result["systems"].keys() == {"bm25", "shoprank", "champion"}
    assert found.result["systems"]["champion"]["ndcg_at_10"] == 0.0, "its own catalog has other ids"
    assert found.result["differences"]["champion"]["mean"] > 0
    assert found.result["champion_similarity"]["churn"] == 1.0
    assert "the champion's own catalog lacks 8 of 8 items" in found.notes


def test_queries_alone_show_what_changed_against_the_champion(shop, evaluate, bundle):
    queries = write(shop / "queries.jsonl", ("query",), [("oat milk",), ("yogurt",), ("snack number 3",)])
    found = evaluate(queries, searched=Searched(bundle=bundle, champion=bundle))
    assert found.result["champion_similarity"] == pytest.approx(
        {"overlap_at_10": 1, "rank_biased_overlap": 1, "churn": 0}
    )
    assert found.result["systems"]["shoprank"]["ndcg_at_10"] is None and "bm25" not in found.result["systems"]
    assert found.result["differences"] == {} and len(found.queries) == 3
    assert found.queries[0]["overlap_at_10"] == 1.0 and "Most changed" in found.page
    with pytest.raises(InputError, match="only queries, and there is no champion"):
        evaluate(queries)


def test_model_answers_a_new_shopper_from_available_items(shop, evaluate, bundle):
    rows = [("oat milk", "oat", 3), ("cheese", "gone", 3), ("燕麦奶", "燕麦", 3)]
    found = evaluate(write(shop / "j.jsonl", ("query", "item_id", "grade"), rows), searched=Searched(bundle=bundle))
    by_query = {row["query"]: row for row in found.queries}
    assert by_query["oat milk"]["shoprank_ndcg_at_10"] == by_query["燕麦奶"]["shoprank_ndcg_at_10"] == 1.0
    assert "gone" not in by_query["cheese"]["shoprank_item_ids"] and by_query["cheese"]["bm25_item_ids"] == ["gone"]
    assert by_query["cheese"]["shoprank_rerank_ndcg_at_10"] == 1.0
    assert found.result["models"]["shoprank"].startswith("20231114-")


def test_changed_bundle_and_nothing_to_search_are_refused(shop, evaluate, bundle, tmp_path):
    with pytest.raises(InputError, match="neither a catalog nor a model"):
        evaluate(searched=Searched())
    broken = tmp_path / "broken"
    broken.mkdir()
    with pytest.raises(BundleError):
        evaluate(searched=Searched(items=str(shop / "items.jsonl"), champion=broken))
    assert not (shop / "out").exists(), "a refused evaluation leaves nothing"


class Artifact:
    def __init__(self, path):
        self.path, self.metrics = str(path), {}

    def log_metric(self, name, value):
        self.metrics[name] = value


def test_component_writes_artifacts_and_metrics_and_tells_what_was_left_out(shop, capsys):
    write(shop / "judgments.jsonl", ("query", "item_id", "grade"), [*JUDGMENTS, ("tea", "99", 1)])
    evaluation, report, metrics = (Artifact(shop / name) for name in ("evaluation", "report", "metrics"))
    component.python_func(
        judgments=str(shop / "judgments.jsonl"), evaluation=evaluation, report=report, metrics=metrics,
        items_source=str(shop / "items.jsonl"), data={"mapping": {}}, options={"resamples": 100.0},
    )  # fmt: skip
    assert metrics.metrics["scored_queries"] == 3 and 0 < metrics.metrics["bm25_ndcg_at_10"] < 1
    assert metrics.metrics["difference_to_bm25_low"] <= metrics.metrics["difference_to_bm25"]
    assert (shop / "evaluation" / "queries.parquet").exists() and "Search evaluation" in (shop / "report").read_text()
    assert "told evaluate_search 1 judgment of 1 item that are not in the catalog" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"options\.resample is not an option"):
        component.python_func(
            judgments="x", evaluation=evaluation, report=report, metrics=metrics, options={"resample": 1}
        )


def test_component_measures_the_champion_or_compares_with_it(shop, bundle, capsys):
    registry = Registry(shop / "registry")
    registry.promote("handmade", registry.add(bundle))
    write(shop / "judgments.jsonl", ("query", "item_id", "grade"), [("oat milk", "oat", 3), ("cheese", "gone", 2)])
    where = {"registry": str(shop / "registry"), "model_name": "handmade", "judgments": str(shop / "judgments.jsonl")}
    write(shop / "all.jsonl", ("item_id", "title"), [("oat", "Oat milk"), ("gone", "Cheese")])
    outputs = {name: Artifact(shop / name) for name in ("evaluation", "report")}
    alone, beside = Artifact(shop / "metrics"), Artifact(shop / "metrics")
    component.python_func(**where, **outputs, metrics=alone)
    component.python_func(**where, **outputs, metrics=beside, bundle=Artifact(bundle))
    assert alone.metrics["shoprank_ndcg_at_10"] == beside.metrics["champion_ndcg_at_10"] == 0.5
    assert "difference_to_champion" not in alone.metrics and beside.metrics["difference_to_champion"] == 0.0
    assert beside.metrics["churn"] == pytest.approx(0.0, abs=1e-12)
    other_key, told = public_path(shop / "other.pem"), Artifact(shop / "metrics")
    create_key(shop / "other.pem")
    component.python_func(
        **where, **outputs, metrics=told, items_source=str(shop / "all.jsonl"), public_key=str(other_key)
    )
    assert "champion_ndcg_at_10" not in told.metrics and "cannot be opened" in capsys.readouterr().out
    with pytest.raises(InputError, match="neither a catalog nor a model"):
        component.python_func(**{**where, "model_name": "other"}, **outputs, metrics=alone)
