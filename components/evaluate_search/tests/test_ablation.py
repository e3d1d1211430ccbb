"""The ablation of a search: figures of each step, on a catalog and on a bundle."""

import pytest

from components.evaluate_search.evaluate import Searched
from components.evaluate_search.summary import flat_figures
from components.evaluate_search.tests.small_shop import write
from components.shared.errors import InputError
from components.shared.search.config import SearchOptions
from components.shared.search.steps import STEPS
from serving.tests.handmade import write_bundle

NAMES = ("query", "item_id", "grade")
QUERIES = [("tea", "1", 3), ("clayworsk", "3", 2), ("brew", "7", 1), ("grinding", "8", 2), ("oat coffee mill", "8", 3)]


def test_each_step_has_its_figures_and_its_difference(shop, evaluate):
    judgments = write(shop / "steps.jsonl", NAMES, QUERIES)
    searched = Searched(items=str(shop / "items.jsonl"), search=SearchOptions(synonyms=("brew => coffee",)))
    found = evaluate(judgments, searched=searched, ablation=True)
    ablation = found.result["ablation"]
    assert ablation.keys() == {*STEPS, "stemming"} - {"meaning", "relevance"}
    assert "ablation: the search has no meaning or relevance to switch off" in found.notes
    flat = flat_figures(found.result)
    whole = found.result["systems"]["shoprank"]
    rows = {row["query"]: row for row in found.queries}
    for step, query in {"spelling": "clayworsk", "synonyms": "brew", "stemming": "grinding",
                        "relaxing": "oat coffee mill"}.items():  # fmt: skip
        lost = ablation[step]
        assert rows[query][f"without_{step}_ndcg_at_10"] == 0 < rows[query]["shoprank_ndcg_at_10"]
        assert (lost["zero_result_rate"], whole["zero_result_rate"]) == (pytest.approx(0.2), 0)
        assert flat[f"without_{step}_zero_result_rate"] == lost["zero_result_rate"]
        assert flat[f"without_{step}_difference_low"] == lost["difference"]["low"]
        difference = lost["difference"]
        assert difference["mean"] == pytest.approx(lost["ndcg_at_10"] - whole["ndcg_at_10"])
        assert difference["low"] <= difference["mean"] <= difference["high"] <= 0
        assert (difference["worse"], difference["better"], difference["equal"]) == (1, 0, 4)
    assert ablation["intents"]["difference"]["equal"] == 5
    assert "Ablation" in found.page and "field weights" in found.page


def test_without_the_option_nothing_is_added_and_bare_queries_are_refused(shop, evaluate):
    found = evaluate()
    assert "ablation" not in found.result and "Ablation" not in found.page
    queries = write(shop / "queries.jsonl", ("query",), [("tea",)])
    with pytest.raises(InputError, match="only queries"):
        evaluate(queries, ablation=True)


def test_a_bundle_is_measured_without_each_step(shop, evaluate, tmp_path):
    bundle = write_bundle(tmp_path / "bundle", tmp_path / "key.pem")
    judgments = write(shop / "of-bundle.jsonl", NAMES, [("oat milk", "oat", 3), ("yogrut", "yogurt", 2)])
    found = evaluate(judgments, searched=Searched(bundle=bundle), ablation=True)
    ablation = found.result["ablation"]
    assert ablation.keys() == {*STEPS, "stemming"} - {"meaning", "relevance", "synonyms"}
    assert ablation["spelling"]["difference"]["worse"] == 1 and ablation["stemming"]["difference"]["worse"] == 0
