"""`shoprank encode-text` and `search-train`: an encoder, a relevance model, and a search that uses both."""

import json

import pytest

from components.encode_text.tests.word_encoder import write_model
from components.shared.options import Options
from components.shared.release.registry import Registry
from pipelines.cli.running import options_of
from pipelines.tests.test_search_eval import ITEM_FLAGS, shop, signed, trained

__all__ = ["shop", "signed", "trained"]


@pytest.fixture
def encoder(shoprank, shop):
    write_model(shop / "model")
    done = shoprank("encode-text", "model", "--out", "encoder", "--no-quantise", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"dim": 8, "encoder_mb": 0.0, "agreement": 1.0, "encoder": str(shop / "encoder")}
    return shop / "encoder"


def test_search_with_an_encoder_finds_what_words_do_not(shoprank, shop, encoder):
    lines = (shop / "items.csv").read_text().splitlines()
    (shop / "items.csv").write_text("\n".join([*lines, "9;Notebook;;Maker;Computers"]), encoding="utf-8")
    (shop / "judgments.jsonl").write_text('{"query": "laptop", "item_id": "9", "grade": 3}\n')
    found = {}
    for given in ((), ("--set", "compile.search.encoder=encoder")):
        done = shoprank("search-eval", *ITEM_FLAGS, *given, "--json")
        assert done.code == 0, done.err
        found[given] = json.loads(done.out)["systems"]["shoprank"]["mrr"]
    assert list(found.values()) == [0, 1]
    done = shoprank("search-eval", *ITEM_FLAGS, *given, "--ablation", "--json")
    ablation = json.loads(done.out)["ablation"]
    assert ablation["meaning"]["ndcg_at_10"] == 0 and ablation["meaning"]["zero_result_rate"] == 1
    assert ablation["stemming"]["ndcg_at_10"] == ablation["relevance"]["ndcg_at_10"] == 1


def test_relevance_model_of_a_catalog_is_trained_and_used(shoprank, shop, encoder):
    rows = [{"query": name, "item_id": item, "grade": 3} for name, item in
            (("green", "1"), ("black", "2"), ("pot", "3"), ("oat", "4"), ("jug", "6"), ("beans", "7"))]  # fmt: skip
    (shop / "judgments.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    train = ("search-train", *ITEM_FLAGS, "--encoder", "encoder", "--out", "relevance.json")
    refused = shoprank(*train)
    assert refused.code == 2 and "6 queries of 'judgments.jsonl' found a relevant item" in refused.err
    assert "or fewer folds" in refused.err
    fewer = shoprank(*train, "--folds", "3")
    assert fewer.code == 0 and "cross-validated over 6 queries" in fewer.out, fewer.err
    rows += [{"query": f"{name} {more}", "item_id": item, "grade": 3} for name, item in (("green tea", "1"),
             ("black tea", "2"), ("tea pot", "3"), ("oat milk", "4")) for more in ("dragon", "drinks")]  # fmt: skip
    (shop / "judgments.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = shoprank(*train)
    assert done.code == 0, done.err
    assert "cross-validated over 14 queries" in done.out and "model: relevance.json (linear)" in done.out
    both = shoprank(*train, "--least-queries-for-trees", "14", "--out", "both.json")
    assert both.code == 0 and "linear 1.0000, LambdaMART 1.0000" in both.out and "(linear)" in both.out, both.err
    done = shoprank("search-eval", *ITEM_FLAGS, "--set", "compile.search.relevance=relevance.json", "--json")
    assert done.code == 0 and json.loads(done.out)["systems"]["shoprank"]["ndcg_at_10"] > 0.5


def test_search_of_a_bundle_is_taught(shoprank, trained):
    bundle = Registry(trained / "registry").resolve("handmade/champion")
    done = shoprank("search-train", "--judgments", "judgments.jsonl", "--bundle", str(bundle))
    assert done.code == 2 and "of 'judgments.jsonl' found a relevant item" in done.err
    rows = [
        {"query": query, "item_id": item, "clicks": 1, "user_id": "ann", "timestamp": "2020-01-01"}
        for query, item in (("milk", "oat"), ("yogurt", "yogurt"), ("snack", "snack1"), ("berries", "berries"))
    ]
    (trained.parent / "clicks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = shoprank("search-train", "--judgments", "clicks.jsonl", "--bundle", str(bundle), "--folds", "2")
    assert done.code == 0 and "0 answers to known shoppers after the bundle's data, of 200 that" in done.out, done.err
    for given, said in ((("--bundle", "nowhere"), "is no bundle"), ((), "give either --items or --bundle")):
        done = shoprank("search-train", "--judgments", "judgments.jsonl", *given)
        assert done.code == 2 and said in done.err


def test_paths_of_a_run_are_made_absolute_and_those_of_stores_kept(shop):
    words = ["compile.search.encoder=encoder", "compile.search.relevance=s3://shop/relevance.json"]
    search = options_of(None, words)["compile"]["search"]
    assert search == {"encoder": str(shop / "encoder"), "relevance": "s3://shop/relevance.json"}
    assert not isinstance(search, Options)
    gate = options_of(None, ["release.search.judgments=judgments.jsonl"])["release"]["search"]
    assert gate == {"judgments": str(shop / "judgments.jsonl")}
