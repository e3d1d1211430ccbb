"""The relevance model of a bundle: what it reads of the items, and what a shopper changes."""

import shutil

import numpy as np
import pytest

from components.shared.recommender.recommender import Recommender
from components.shared.search.relevance import FEATURES, RelevanceModel
from serving.tests.handmade import AS_OF


def test_features_of_items_are_those_of_the_bundles_catalog(signed):
    recommender = Recommender.open(signed[0])
    search = recommender.search
    assert search is not None
    read = search.understand("milk")
    found = search.candidates(read, 10)
    features = dict(zip(FEATURES, search.features(read, found).T, strict=True))
    names = recommender.catalog.item_id.take(found.matches.item).to_pylist()
    # 36 items have a known age: whole milk is the oldest, the Chinese drink the newest, and oat milk next to it.
    assert dict(zip(names, features["freshness"], strict=True)) == pytest.approx(
        {"oat": 34 / 36, "whole": 0, "燕麦": 35 / 36}
    )
    assert names[int(np.argmax(features["popularity"]))] == "whole" and features["available"].all()


def with_model(bundle, folder, weights) -> Recommender:
    """The bundle with another relevance model."""
    shutil.copytree(bundle, folder)
    RelevanceModel(weights, {}).write(folder / "search" / "relevance.json")
    return Recommender.open(folder)


def answered(recommender: Recommender, user: str, query: str):
    row = recommender.user_row.get(user, 0)
    histories = recommender.store.before(np.array([row]), np.array([AS_OF]), 200)
    (ranking,) = recommender.rank(histories, 10, [query])
    assert (np.diff(ranking.score) <= 0).all() and (np.diff(ranking.rank_class) <= 0).all()
    return recommender.catalog.item_id.take(ranking.item).to_pylist(), ranking


def test_learned_weight_of_the_shoppers_ranker_replaces_the_blend_in_halves(signed, tmp_path):
    """Everybody buys whole milk, ann oat milk; nothing is known of a stranger."""
    weights = {"popularity": 5.0}
    recommender = with_model(signed[0], tmp_path / "strong", {**weights, "personal": 3.0})
    assert answered(recommender, "ann", "milk")[0][0] == "oat"
    assert answered(recommender, "nobody", "milk")[0][0] == "whole"
    weak = with_model(signed[0], tmp_path / "weak", {**weights, "personal": 0.0})
    assert answered(weak, "ann", "milk")[0][0] == "whole"
    _, ranking = answered(weak, "nobody", "milk")
    assert ranking.score == pytest.approx(ranking.lexical), "of a stranger the relevance alone"
    none = with_model(signed[0], tmp_path / "none", weights)
    assert answered(none, "ann", "milk")[0][0] == "oat", "in halves, as without a model"


@pytest.mark.parametrize("weight", [0.0, 1.0, 1_000.0, None])
@pytest.mark.parametrize("user", ["ann", "bob", "late", "nobody"])
@pytest.mark.parametrize(
    ("query", "asked"), [("whole milk 1L", "whole"), ("greek yogurt", "yogurt"), ("snack 7", "snack7")]
)
def test_favourite_never_beats_what_was_asked_for(signed, tmp_path, weight, user, query, asked):
    """However much the ranker weighs, the classes of the search come first: ann buys oat milk every fortnight."""
    weights = {"lexical": 1.0} | ({} if weight is None else {"personal": weight})
    names, _ = answered(with_model(signed[0], tmp_path / "bundle", weights), user, query)
    assert names[0] == asked
