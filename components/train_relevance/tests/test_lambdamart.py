"""LambdaMART: what it learns that a linear model does not, when it is left out, and its form in the model's file."""

import json
from itertools import product

import numpy as np
import pytest

from components.evaluate_search.catalog import items_catalog
from components.evaluate_search.systems import catalog_search
from components.shared.errors import InputError
from components.shared.search.config import SearchOptions
from components.shared.search.relevance import FEATURES, RelevanceModel
from components.train_relevance.choosing import Choice
from components.train_relevance.config import RelevanceOptions
from components.train_relevance.fitting import JudgedQuery
from components.train_relevance.lambdamart import booster, exported
from components.train_relevance.train import Searched, train_relevance

COLUMNS = [FEATURES.index(name) for name in ("price", "lexical", "freshness")]
KINDS = ["".join(parts) for parts in product(("bar", "dol", "fim"), ("ga", "ne", "to", "lu"), ("kem", "pas", "vid"))]
OPTIONS = RelevanceOptions(repeats=1, folds=2, l2=(0.003,), signs=("any",), trees=(30,))


def made(queries: int, candidates: int) -> list[JudgedQuery]:
    """Queries whose grades depend on two features together, and grades between whole numbers."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(queries):
        features = random.normal(size=(candidates, len(FEATURES)))
        features[:, 0] = features[:, 0].round(1)
        both = np.sign(features[:, COLUMNS[0]]) * np.sign(features[:, COLUMNS[1]])
        grade = np.where(both + random.normal(0, 0.5, candidates) > 1, random.integers(1, 13, candidates) / 4, 0)
        rank_class = np.ones(candidates, np.int8)
        found.append(JudgedQuery(features, grade, grade > 0, rank_class, features[:, 1], grade[grade > 0]))
    return found


def test_exported_trees_give_what_lightgbm_gives(tmp_path):
    model = booster(made(30, 200), COLUMNS, 60)
    trees = exported(model, COLUMNS)
    assert len(trees) == 60
    RelevanceModel({}, {"model": "lambdamart"}, trees).write(tmp_path / "relevance.json")
    read = RelevanceModel.read(tmp_path / "relevance.json")
    assert read.trees == trees
    features = np.random.default_rng(1).normal(size=(1_000, len(FEATURES)))
    # Values that are thresholds (LightGBM reads what is nearer to 0 than 1e-35 as 0), and far outside of what was seen.
    thresholds = [tree[1] for tree in trees if isinstance(tree, tuple) and abs(tree[1]) > 1e-30][:20]
    features[:20, COLUMNS[0]] = features[:20, COLUMNS[1]] = thresholds
    features[20:40] *= 1e6
    np.testing.assert_allclose(read.relevance(features), model.predict(features[:, COLUMNS]), atol=1e-6)
    assert not read.relevance(features[:0]).size


def test_a_single_leaf_and_weights_are_added():
    model = RelevanceModel({"price": 2.0}, {}, (0.5, ("price", 1.0, -1.0, ("price", 2.0, 0.25, 4.0))))
    features = np.zeros((3, len(FEATURES)))
    features[:, FEATURES.index("price")] = [1.0, 2.0, 3.0]
    assert model.relevance(features).tolist() == [1.5, 4.75, 10.5]


DEEP = 0.0
for _ in range(8):
    DEEP = ["price", 0.0, DEEP, 1.0]


@pytest.mark.parametrize(
    ("trees", "said"),
    [
        ([["weight", 0.5, 1, 2]], "'weight', which this version does not know"),
        ([["price", float("inf"), 1, 2]], "'inf' in a tree is not a finite number"),
        ([["price", 0.5, 1, float("nan")]], "'nan' in a tree is not a finite number"),
        ([["price", 0.5, 1]], "other than 4 parts"), ([["price", 0.5, 1, None]], "'None' in a tree"),
        ([["price", "0.5", 1, 2]], "'0.5' in a tree"), ([{"price": 1}], "in a tree is not a finite number"),
        ([DEEP], "deeper than 8 leaves"), (7, "not iterable"),
        ([["price", 0, *[["price", 0, *[["price", 0, 1, ["price", 0, 1, 2]]] * 2]] * 2]], "has 12 leaves"),
    ],
)  # fmt: skip
def test_broken_trees_are_refused_with_a_fix(tmp_path, trees, said):
    (tmp_path / "relevance.json").write_text(json.dumps({"weights": {}, "trees": trees}))
    with pytest.raises(InputError, match="holds no relevance model") as error:
        RelevanceModel.read(tmp_path / "relevance.json")
    assert said in error.value.headline and "search-train" in error.value.fix


def test_grades_between_whole_numbers_count():
    queries = made(40, 60)
    model = Choice(trees=30).fitted(queries, [FEATURES[at] for at in COLUMNS])
    linear = Choice(l2=0.003).fitted(queries, [FEATURES[at] for at in COLUMNS])
    gain = [
        query.ndcg(model.relevance(query.features)) - query.ndcg(linear.relevance(query.features)) for query in queries
    ]
    assert np.mean(gain) > 0.1 and not model.weights and not linear.trees


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Of each kind the cheap new and the dear old items are wanted: neither price nor age tells it alone."""
    folder = tmp_path_factory.mktemp("shop")
    random = np.random.default_rng(0)
    items, judged = [], []
    for kind in KINDS:
        for number in range(12):
            dear, old = number % 2, number // 2 % 2
            year, price = 2024 - 2 * old, 10 * (1 + 9 * dear) + random.random()
            items.append(
                {
                    "item_id": f"{kind}{number}",
                    "title": kind,
                    "price": price,
                    "created_at": f"{year}-01-{number + 1:02}",
                }
            )
            judged.append({"query": kind, "item_id": f"{kind}{number}", "grade": 3 * (dear == old)})
    for name, rows in (("items", items), ("judgments", judged)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def trained(shop, **options) -> RelevanceModel:
    given = RelevanceOptions(**{**OPTIONS.model_dump(), **options})
    searched = Searched(items=str(shop / "items.jsonl"))
    return train_relevance(str(shop / "judgments.jsonl"), searched, shop / "relevance.json", given, lambda *_: None)


def test_trees_are_chosen_where_features_matter_together(shop):
    model = trained(shop, least_queries_for_trees=len(KINDS))
    about = model.about
    assert (about["model"], about["trees"], len(model.trees)) == ("lambdamart", 30, 30)
    assert about["lambdamart_ndcg_at_10"] == about["ndcg_at_10"] > 0.95 > about["linear_ndcg_at_10"] + 0.1
    assert RelevanceModel.read(shop / "relevance.json") == model
    search = catalog_search(
        items_catalog(str(shop / "items.jsonl"), {}), SearchOptions(relevance=str(shop / "relevance.json"))
    )
    first = search.find(search.understand(KINDS[3]), 6).item - 3 * 12
    assert set(first.tolist()) == {0, 4, 8, 3, 7, 11}, "cheap and new, dear and old"
    assert trained(shop, least_queries_for_trees=len(KINDS)).trees == model.trees, "the same judgments, the same trees"


def test_too_few_queries_or_no_number_leave_trees_out(shop):
    for options in ({}, {"trees": (), "least_queries_for_trees": 1}):
        model = trained(shop, **options)
        assert model.about["model"] == "linear" and "lambdamart_ndcg_at_10" not in model.about and not model.trees
        assert "trees" not in json.loads((shop / "relevance.json").read_text())
