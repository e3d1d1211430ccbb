"""Facets of a result: what they count, under which filters, and that a click on a value gives what it promised."""

import json

import httpx
import numpy as np
import pytest

from serving.facets import price_bands
from serving.tests.asking import INFER, PREDICT, one, outputs, tensor


@pytest.fixture(scope="module")
def http(predictor):
    with httpx.Client(base_url=predictor.url, trust_env=False, timeout=10) as client:
        yield client


def _counts(answer, facet):
    return {value["value"]: value["count"] for value in answer["facets"][facet]["values"]}


def test_a_query_is_counted_by_category_brand_price_and_attribute(http):
    answer = one(http, query="milk", k=1, facets=["category", "brand", "price", "Diet"])
    assert answer["total"] == 3
    assert _counts(answer, "category") == {"DAIRY": 3, "MILK": 3}
    assert _counts(answer, "brand") == {"FarmCo": 1, "Oatly": 1, "燕麦": 1}
    assert answer["facets"]["Diet"] == {"values": [{"value": "vegan", "count": 2}], "others": 0, "missing": 1}
    assert sum(band["count"] for band in answer["facets"]["price"]["bands"]) == 3
    assert "facets" not in one(http, query="milk", k=1)


def test_a_chinese_query_and_a_chinese_attribute_are_counted(http):
    answer = one(http, query="燕麦奶", k=1, facets=["产地", "brand"])
    assert _counts(answer, "产地") == {"中国": 1} and _counts(answer, "brand")["燕麦"] == 1
    found = one(http, filters={"attributes": {"产地": ["中国"]}}, k=40)
    assert [item["item_id"] for item in found["items"]] == ["燕麦"] and found["total"] == 1


def test_without_a_query_all_allowed_items_are_counted(http):
    answer = one(http, user_id="ann", k=3, facets=["category", "price"])
    assert answer["total"] == 39 and _counts(answer, "category")["SNACKS"] == 33
    assert answer["facets"]["price"]["missing"] == 1
    assert one(http, filters={"available": False}, k=1)["total"] == 40


def test_a_facet_leaves_out_its_own_filter_and_keeps_the_others(http):
    filters = {"brands": ["farmco"], "price_max": 2.0}
    answer = one(http, query="milk", k=5, filters=filters, facets=["brand", "price", "category"])
    assert answer["total"] == 1
    # Oat milk and 燕麦奶 cost more than 2; of FarmCo is only whole milk.
    assert _counts(answer, "brand") == {"FarmCo": 1}
    wider = one(http, query="milk", k=5, filters={"brands": ["FarmCo"]}, facets=["brand"])
    assert wider["total"] == 1 and _counts(wider, "brand") == {"FarmCo": 1, "Oatly": 1, "燕麦": 1}
    attribute = one(http, k=1, filters={"attributes": {"diet": ["VEGAN"]}}, facets=["diet", "category"])
    assert attribute["total"] == 3 and _counts(attribute, "diet") == {"vegetarian": 11, "vegan": 3}
    assert _counts(attribute, "category") == {"BERRIES": 1, "DAIRY": 2, "MILK": 2, "PRODUCE": 1}


@pytest.mark.parametrize("query", ["", "milk", "snack under $20", "under 20", "dairy -milk"])
def test_every_value_counts_what_a_filter_by_it_finds(http, query):
    answer = one(http, query=query, k=1, facets=["category", "brand", "Diet", "price"])
    filters = [({"categories": [value]}, count) for value, count in _counts(answer, "category").items()]
    filters += [({"brands": [value]}, count) for value, count in _counts(answer, "brand").items()]
    filters += [({"attributes": {"Diet": [value]}}, count) for value, count in _counts(answer, "Diet").items()]
    bands = answer["facets"]["price"]["bands"]
    filters += [({"price_min": band["min"], "price_max": band["max"]}, band["count"]) for band in bands]
    assert sum(band["count"] for band in bands) + answer["facets"]["price"]["missing"] == answer["total"]
    for chosen, count in filters:
        assert one(http, query=query, k=1, filters=chosen)["total"] == count, chosen


def test_total_is_what_the_search_returns(http):
    for query in ("milk", "oat milk", "snack", "number 7", "greek yogurt", "燕麦", "milk under $2", "zzzz", "snack -1"):
        answer = one(http, query=query, k=500)
        assert answer["total"] == len(answer["items"]), query


def test_a_query_answered_by_meaning_counts_what_is_answered(http):
    answer = one(http, query="oat milk", k=500, filters={"brands": ["Crunch"]}, facets=["category", "brand"])
    assert answer["search"]["by"] == "meaning"
    assert answer["total"] == len(answer["items"]) == _counts(answer, "category")["SNACKS"]
    assert _counts(answer, "brand") == {"FarmCo": 1, "Oatly": 1, "燕麦": 1, "Crunch": 0}


def test_unknown_attributes_are_told_and_find_nothing(http):
    answer = one(http, k=1, facets=["Colour"])
    assert answer["facets"]["Colour"] == {"values": [], "others": 0, "missing": 39}
    assert answer["warnings"] == ["facets: no item has an attribute 'Colour'; the attributes are: Diet, Pack, 产地"]
    filtered = one(http, filters={"attributes": {"Colour": ["red"]}})
    assert filtered["items"] == [] and "filters.attributes.Colour: no item has this attribute" in filtered["warnings"]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"facets": "brand"}, "facets"), ({"facets": ["x"] * 21}, "facets"), ({"facets": [1]}, "facets[0]"),
        ({"filters": {"attributes": {"Diet": "vegan"}}}, "filters.attributes.Diet"),
        ({"filters": {"attributes": ["Diet"]}}, "filters.attributes"),
    ],
)  # fmt: skip
def test_invalid_facets_and_filters_name_the_field(http, request_, field):
    answer = http.post(PREDICT, json={"instances": [request_]})
    assert answer.status_code == 400 and answer.json()["field"] == f"instances[0].{field}"


def test_v2_takes_and_gives_facets_as_json(http):
    body = {"inputs": [tensor("query", ["milk", ""]), tensor("facets", ['["brand"]', ""])]}
    found = outputs(http.post(INFER, json=body))
    assert found["total"] == [3, 39]
    first, second = map(json.loads, found["facets"])
    assert first["brand"]["missing"] == 0 and len(first["brand"]["values"]) == 3 and second == {}


def test_price_bands_are_few_begin_near_round_prices_and_hold_every_price():
    prices = np.sort(np.random.default_rng(3).lognormal(3, 1, 5_000).astype(np.float32))
    bands = price_bands(prices)
    assert len(bands) == 5 and sum(band["count"] for band in bands) == 5_000
    assert min(band["count"] for band in bands) > 500
    for band in bands:
        selected = (prices >= band["min"]) & (prices <= band["max"])
        assert selected.sum() == band["count"]
    assert price_bands(np.full(7, 2.49, np.float32)) == [{"min": 2.49, "max": 2.49, "count": 7}]
    assert price_bands(np.zeros(2, np.float32)) == [{"min": 0.0, "max": 0.0, "count": 2}]
    assert price_bands(np.zeros(0, np.float32)) == []
