"""Training of a relevance model: what it learns from judgments, and what it says of itself."""

import json

import numpy as np
import pytest

from components.shared.errors import InputError
from components.shared.search.relevance import RelevanceModel
from components.train_relevance.config import RelevanceOptions
from components.train_relevance.fitting import JudgedQuery, fit
from components.train_relevance.train import Searched, train_relevance

KINDS = ("lamp", "chair", "table", "shelf", "rug", "vase", "clock", "mirror", "desk", "stool")
QUICK = RelevanceOptions(repeats=1, folds=2, l2=(0.003,), signs=("any",))


@pytest.fixture
def shop(tmp_path):
    """Items of ten kinds; what a title has is relevant, what only a description has is not; dear is better."""
    items, judged = [], []
    for kind in KINDS:
        for number in range(6):
            named = number < 3
            items.append({
                "item_id": f"{kind}{number}", "title": f"Oak {kind} {number}" if named else f"Spare part {number}",
                "description": "" if named else f"{kind} {kind} {kind}", "price": 10.0 * (number + 1),
            })  # fmt: skip
            judged.append({"query": kind, "item_id": f"{kind}{number}", "grade": number + 1 if named else 0})
    for name, rows in (("items", items), ("judgments", judged)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def trained(shop, options=QUICK, judgments="judgments.jsonl") -> RelevanceModel:
    searched = Searched(items=str(shop / "items.jsonl"))
    return train_relevance(str(shop / judgments), searched, shop / "relevance.json", options, lambda *_: None)


def test_it_learns_what_the_words_do_not_know(shop):
    model = trained(shop)
    assert min(model.weights["price"], model.weights["title"]) > 0
    about = model.about
    assert about["ndcg_at_10"] > 0.99 > about["words_ndcg_at_10"] and about["gain"][1] > 0
    assert (about["queries"], about["folds"], about["encoder"]) == (10, 2, "")
    assert RelevanceModel.read(shop / "relevance.json") == model
    assert trained(shop).weights == model.weights, "the same judgments, the same weights"


def test_newer_items_are_learned_to_be_better(shop):
    """The age of an item takes the part of its price, where a shop's catalog has that."""
    items = [json.loads(line) for line in (shop / "items.jsonl").read_text().splitlines()]
    aged = [{**item, "price": None, "created_at": f"2026-01-{item['price'] / 10:02.0f}"} for item in items]
    (shop / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in aged))
    model = trained(shop)
    assert model.weights["freshness"] > 0 == model.weights["price"] and model.about["ndcg_at_10"] > 0.99
    (shop / "items.jsonl").write_text("".join(json.dumps({**item, "created_at": None}) + "\n" for item in aged))
    assert trained(shop).weights["freshness"] == 0, "no age is known"


def test_positive_weights_and_fewer_features_are_options(shop):
    options = RelevanceOptions(repeats=1, folds=2, l2=(0.003,), signs=("positive",), features=("title", "description"))
    model = trained(shop, options)
    assert set(model.weights) == {"title", "description"} and min(model.weights.values()) == 0 < model.weights["title"]
    assert model.about["signs"] == "positive"


def test_clicks_teach_as_well(shop):
    rows = [json.loads(line) for line in (shop / "judgments.jsonl").read_text().splitlines()]
    clicks = [{"query": row["query"], "item_id": row["item_id"], "clicks": 40 * row["grade"]} for row in rows]
    (shop / "clicks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in clicks))
    assert trained(shop, judgments="clicks.jsonl").weights["title"] > 0


def test_clicks_with_positions_teach_what_the_top_of_the_answers_hides(shop):
    """The worst of the named items is on top, and is examined three times as often as the one behind it."""
    rows = []
    for kind in KINDS:
        for number, wanted in enumerate((0.2, 0.3, 0.4)):
            for place, seen, examined in ((number + 1, 900, (1, 1 / 3, 1 / 9)[number]), (2, 90, 1 / 3), (1, 9, 1)):
                rows.append({"query": kind, "item_id": f"{kind}{number}", "position": place, "impressions": seen,
                             "clicks": round(seen * examined * wanted)})  # fmt: skip
    found = {}
    for name, left in (("fair", ()), ("blind", ("position",))):
        lines = [{key: value for key, value in row.items() if key not in left} for row in rows]
        (shop / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
        model = trained(shop, judgments=f"{name}.jsonl")
        found[name] = model.weights["price"]
        assert ("corrected by how likely" in model.about["notes"][-1]) == (name == "fair")
    assert found["blind"] < 0 < found["fair"], found


@pytest.mark.parametrize(
    ("text", "said"),
    [('{"query": "lamp"}', "has only queries"),
     ('{"query": "lamp", "item_id": "lamp1", "grade": 3}', "1 queries of .* found a relevant item")],
)  # fmt: skip
def test_too_few_judgments_are_refused(shop, text, said):
    (shop / "few.jsonl").write_text(text + "\n")
    with pytest.raises(InputError, match=said) as error:
        trained(shop, judgments="few.jsonl")
    assert error.value.fix and not (shop / "relevance.json").exists()


def test_loss_is_least_where_its_gradient_vanishes():
    random = np.random.default_rng(0)
    queries = []
    for _ in range(30):
        features = random.normal(size=(20, 3))
        grade = np.where(features @ [2, -1, 0] + random.gumbel(size=20) > 2, 2.0, 0.0)
        queries.append(JudgedQuery(features, grade, grade >= 0, np.ones(20, np.int8), features[:, 0], grade))
    weights = fit(queries, range(3), 1e-3, positive=False)
    assert weights[0] > 0 > weights[1] and abs(weights[2]) < 0.5
    assert fit(queries, range(3), 1e3, positive=False) == pytest.approx(np.zeros(3), abs=0.01)
    assert (fit(queries, range(3), 1e-3, positive=True) >= 0).all()
