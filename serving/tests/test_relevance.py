"""The relevance model of a bundle: what it reads of the items."""

import numpy as np
import pytest

from components.shared.recommender.recommender import Recommender
from components.shared.search.relevance import FEATURES


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
