"""Requests: valid ones become `Instance`, invalid ones are refused with the name of their field."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.answers import Answer, Item, answer_columns
from serving.protocol import (
    Instance,
    RequestError,
    decode_json,
    parse_instance,
    parse_v1,
    parse_v2,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from([*Instance.model_fields, "surprise"])


def test_an_empty_request_has_defaults():
    ask = parse_instance({})
    assert (ask.user_id, ask.query, ask.k, ask.filters.available, ask.history) == (None, None, 10, True, None)


def test_a_full_request_is_read():
    ask = parse_instance({
        "user_id": "u", "query": "燕麦奶 🥛", "k": 500, "exclude": ["a"],
        "filters": {"available": False, "price_min": 1, "price_max": 2.5, "categories": ["MILK"], "brands": []},
        "context": {"timestamp": "2026-11-23T12:00:00Z"},
        "history": [{"item_id": "a", "event_type": "view", "timestamp": 1_700_000_000, "price": None}],
    })  # fmt: skip
    assert ask.context.timestamp == 1_795_435_200
    assert ask.filters.price_min == 1.0 and ask.history is not None and ask.history[0].timestamp == 1_700_000_000


@pytest.mark.parametrize("given_id", [10, 10.0, "10", " 10 ", "10.0"])
def test_ids_have_the_form_of_ingested_ones(given_id):
    event = {"item_id": given_id, "event_type": "view", "timestamp": 1_700_000_000}
    ask = parse_instance({"user_id": given_id, "exclude": [given_id], "history": [event]})
    assert ask.history is not None
    assert [ask.user_id, *ask.exclude, ask.history[0].item_id] == ["10"] * 3


@pytest.mark.parametrize("k", [0, -1, 10**9, 10**30, "ten", True, 2.5, 10.0, None, [10]])
def test_k_must_be_a_whole_number_up_to_500(k):
    with pytest.raises(RequestError, match="field 'k'") as refusal:
        parse_instance({"k": k})
    assert refusal.value.field == "k" and refusal.value.fix


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"user_id": [5]}, "user_id"),
        ({"user_id": True}, "user_id"),
        ({"user_id": float("nan")}, "user_id"),
        ({"user_id": "x" * 513}, "user_id"),
        ({"user_id": "\ud800"}, "user_id"),
        ({"query": "a" * 10_001}, "query"),
        ({"query": ["a"]}, "query"),
        ({"filters": {"price_min": float("nan")}}, "filters.price_min"),
        ({"filters": {"price_max": -1}}, "filters.price_max"),
        ({"filters": {"price_min": 3, "price_max": 2}}, "filters"),
        ({"filters": {"categories": "MILK"}}, "filters.categories"),
        ({"filters": {"available": 1}}, "filters.available"),
        ({"filters": {"colour": "red"}}, "filters.colour"),
        ({"context": {"timestamp": 1_700_000_000_000}}, "context.timestamp"),
        ({"context": {"timestamp": "yesterday"}}, "context.timestamp"),
        ({"history": [{"item_id": "a", "event_type": "view"}]}, "history[0].timestamp"),
        ({"history": [{"item_id": "a", "event_type": "stolen", "timestamp": 1}]}, "history[0].event_type"),
        ({"history": {}}, "history"),
        ({"exclude": ["a", {}]}, "exclude[1]"),
        ({"user": "x"}, "user"),
    ],
)
def test_invalid_field_is_named(request_, field):
    with pytest.raises(RequestError) as refusal:
        parse_instance(request_)
    assert refusal.value.field == field
    assert field in refusal.value.headline and len(refusal.value.headline) < 300


def test_an_unknown_field_lists_the_known_ones():
    with pytest.raises(RequestError, match="unknown field 'user'") as refusal:
        parse_instance({"user": "x"})
    assert "user_id, query, k" in refusal.value.fix


@given(st.dictionaries(FIELDS, VALUES, max_size=4))
def test_any_object_is_read_or_refused(raw):
    try:
        assert isinstance(parse_instance(raw), Instance)
    except RequestError as refusal:
        assert refusal.field and refusal.headline and refusal.fix


@given(VALUES)
def test_any_body_is_read_or_refused(body):
    for attempt in (lambda: parse_v1(body), lambda: parse_v1({"instances": body})):
        try:
            attempt()
        except RequestError as refusal:
            assert refusal.headline


@given(st.binary(max_size=200), st.sampled_from(["utf-8", "gbk", "utf-16", "nonsense"]))
def test_any_bytes_are_json_or_refused(body, charset):
    try:
        decode_json(body, charset)
    except RequestError as refusal:
        assert refusal.fix


def test_body_is_decoded_by_its_charset_and_nan_is_refused():
    assert decode_json('{"query": "燕麦奶"}'.encode("gbk"), "gbk") == {"query": "燕麦奶"}
    with pytest.raises(RequestError, match="NaN is not JSON"):
        decode_json(b'{"k": NaN}')
    with pytest.raises(RequestError, match="charset 'nonsense'"):
        decode_json(b"{}", "nonsense")
    with pytest.raises(RequestError, match="not JSON"):
        decode_json(b"[" * 100_000)


def test_v1_instances_are_validated_and_numbered_in_errors():
    assert len(parse_v1({"instances": [{}, {"k": 3}]})) == 2
    with pytest.raises(RequestError, match=r"instances\[1\].k"):
        parse_v1({"instances": [{}, {"k": 0}]})
    for body in ({"instances": []}, {"instances": [{}] * 65}, {"instances": {}}, {"k": 3}, [], "x", None):
        with pytest.raises(RequestError):
            parse_v1(body)


def test_v2_columns_become_requests():
    asks = parse_v2({
        "user_id": [b"ann", b""], "query": ["", "milk"], "k": [3], "timestamp": [1_700_000_000],
        "filters": [json.dumps({"price_max": 5})], "history": [b"", b"[]"], "exclude": ['["a"]'],
    })  # fmt: skip
    assert [ask.user_id for ask in asks] == ["ann", None] and [ask.query for ask in asks] == [None, "milk"]
    assert [ask.k for ask in asks] == [3, 3] and asks[1].history == [] and asks[0].history is None
    assert asks[0].filters.price_max == 5 and asks[0].context.timestamp == 1_700_000_000 and asks[0].exclude == ["a"]


@pytest.mark.parametrize(
    "columns",
    [{}, {"user": ["a"]}, {"user_id": ["a", "b", "c"], "k": [1, 2]}, {"k": []}, {"k": [1.5]}, {"filters": ["{"]},
     {"filters": [5]}, {"user_id": [b"\xff"]}, {"k": [1] * 65}, {"history": ["5"]}],
)  # fmt: skip
def test_invalid_v2_columns_are_refused(columns):
    with pytest.raises(RequestError):
        parse_v2(columns)


def test_answers_are_padded_to_one_width():
    item = Item(item_id="a", title="A", price=None, score=0.5, reasons=["x", "y"])
    answers = [
        Answer(items=[item, item], model_version="v", request_id="r"),
        Answer(items=[], model_version="v", request_id="r", note="new", warnings=["w", "z"]),
    ]
    width, columns = answer_columns(answers)
    assert width == 2 and columns["item_id"] == ["a", "a", "", ""] and columns["count"] == [2, 0]
    assert columns["reasons"][0] == "x; y" and columns["note"] == ["", "new"] and columns["warnings"] == ["", "w; z"]
