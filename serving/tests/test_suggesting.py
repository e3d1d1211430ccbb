"""Suggestions of the predictor over V1, V2 and explain."""

import json

import httpx
import pytest

from serving.tests.asking import INFER, PREDICT, one, outputs, tensor


@pytest.fixture(scope="module")
def http(predictor):
    with httpx.Client(base_url=predictor.url, trust_env=False, timeout=10) as client:
        yield client


def _texts(http, suggest, **request):
    return [found["text"] for found in one(http, suggest=suggest, **request)["suggestions"]]


def test_suggestions_come_without_items_and_name_their_kind(http):
    answer = one(http, suggest="sna", k=3)
    assert answer["items"] == [] and answer["total"] == 0 and answer["warnings"] == []
    assert {"text": "SNACKS", "kind": "category", "own": False} in answer["suggestions"]
    assert len(one(http, suggest="", k=2)["suggestions"]) == 2
    assert "suggestions" not in one(http, query="milk")


def test_suggestions_forgive_an_edit_and_read_chinese(http):
    assert "Blueberries 500g" in _texts(http, "bluebrri") and _texts(http, "zzz") == []
    assert set(_texts(http, "燕")) == {"燕麦", "燕麦奶 1L"}


def test_what_the_shopper_bought_lately_comes_first(http):
    first = one(http, user_id="ann", suggest="", k=3)["suggestions"]
    assert [found["own"] for found in first] == [True] * 3 and first[0] == {
        "text": "DAIRY",
        "kind": "category",
        "own": True,
    }
    assert _texts(http, "o", user_id="ann")[0] == "Oatly"
    history = [{"item_id": "snack1", "event_type": "view", "timestamp": 1_699_000_000}]
    assert _texts(http, "", k=2, user_id="ann", history=history) == ["SNACKS", "Crunch"]


def test_other_fields_are_told_to_be_unused(http):
    answer = one(http, suggest="oat", query="milk", filters={"price_max": 3})
    assert answer["warnings"] == ["query: not used with suggest", "filters: not used with suggest"]


def test_suggestions_and_searches_may_share_a_request(http):
    body = {"instances": [{"suggest": "oat"}, {"query": "oat milk", "k": 1}]}
    first, second = http.post(PREDICT, json=body).json()["predictions"]
    assert first["suggestions"] and second["items"][0]["item_id"] == "oat" and "suggestions" not in second
    explained = http.post("/v1/models/shoprank:explain", json=body).json()["explanations"]
    assert explained[0]["suggestions"] == first["suggestions"]
    too_long = http.post(PREDICT, json={"instances": [{"suggest": "a" * 600}]})
    assert too_long.status_code == 400 and too_long.json()["field"] == "instances[0].suggest"


def test_v2_gives_suggestions_as_json(http):
    found = outputs(http.post(INFER, json={"inputs": [tensor("suggest", ["燕", ""])]}))
    first, second = map(json.loads, found["suggestions"])
    assert {found["text"] for found in first} == {"燕麦", "燕麦奶 1L"} and second == [] and found["count"][0] == 0


def test_suggestions_are_counted_apart_from_answers(http):
    def counted():
        lines = http.get("/metrics").text.splitlines()
        return [line for line in lines if line.startswith(("shoprank_outcomes_total", "shoprank_empty_answers_total"))]

    before = counted()
    _texts(http, "oat")
    assert counted() == before and 'shoprank_requests_total{kind="suggest"}' in http.get("/metrics").text
