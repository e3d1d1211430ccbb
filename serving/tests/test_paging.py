"""Sorts and pages of a result, over HTTP and gRPC, and across a refresh of the catalog."""

import base64
import json

import grpc
import httpx
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from kserve.protocol.infer_type import InferResponse

from components.shared.release.bundle import verify
from serving.engine import Engine
from serving.exploring import ExplorationConfig
from serving.protocol import RequestError, parse_instance
from serving.tests.asking import INFER, PREDICT, one, outputs, tensor
from serving.tests.catalogs import refreshed
from serving.tests.handmade import ITEMS

SORTS = ["relevance", "price", "-price", "newest", "popular"]
PRICE = {item[0]: item[4] for item in ITEMS}


@pytest.fixture(scope="module")
def http(predictor):
    with httpx.Client(base_url=predictor.url, trust_env=False, timeout=10) as client:
        yield client


def _ids(answer):
    return [item["item_id"] for item in answer["items"]]


def _asked(engine, **request):
    instance = parse_instance(request)
    engine.check(instance)
    return engine.answer([instance], ["test"])[0].model_dump()


def _pages(ask, **request):
    """Ids page by page to the last page."""
    pages, answer = [], ask(**request)
    while True:
        pages.append(_ids(answer))
        if not answer["cursor"]:
            return pages
        answer = ask(**{**request, "cursor": answer["cursor"]})


def _flat(pages):
    return [item for page in pages for item in page]


def test_sorts_order_the_catalog_with_unknown_values_last_and_ties_by_id(http):
    def ids(sort, **request):
        return _ids(one(http, sort=sort, k=500, **request))

    dear = ids("-price")
    assert dear[:3] == ["snack32", "snack31", "snack30"] and dear[-1] == "box" and len(dear) == 39
    cheap = ids("price")
    assert cheap[:3] == ["snack0", "whole", "snack1"] and cheap[-1] == "box"
    assert ids("popular")[:3] == ["whole", "oat", "snack0"]
    # berries, box and yogurt have no creation time; the snacks have one in pairs.
    assert ids("newest")[:4] == ["燕麦", "oat", "snack0", "snack1"] and ids("newest")[-3:] == [
        "berries",
        "box",
        "yogurt",
    ]
    assert ids("popular")[-4:] == ["berries", "box", "yogurt", "燕麦"]


def test_a_search_sorts_the_items_that_match_as_asked(http):
    assert (
        _ids(one(http, query="oat milk", k=9)) == ["oat", "whole", "燕麦"] or one(http, query="oat milk")["total"] > 1
    )
    cheapest = one(http, query="oat milk", sort="price")
    assert _ids(cheapest) == ["oat"] and cheapest["total"] == 1
    assert _ids(one(http, query="milk", sort="price")) == ["whole", "燕麦", "oat"]
    assert _ids(one(http, query="milk", sort="-price")) == ["oat", "燕麦", "whole"]
    assert _ids(one(http, query="燕麦奶", sort="price"))[0] == "燕麦"
    limited = one(http, query="snack under $5", sort="-price")
    assert _ids(limited) == ["snack4", "snack3", "snack2", "snack1", "snack0"]
    by_meaning = one(http, query="oat milk", sort="price", filters={"brands": ["Crunch"]}, k=40)
    assert by_meaning["search"]["by"] == "meaning"
    prices = [item["price"] for item in by_meaning["items"]]
    assert prices == sorted(prices) and by_meaning["total"] == len(prices)


def test_sorted_items_have_reasons_and_the_probability_as_score(http):
    item = one(http, user_id="ann", query="milk", sort="-price")["items"][0]
    assert item["item_id"] == "oat" and item["reasons"][:2] == ["matches 'milk'", "bought 6 times, last 9 days ago"]
    ranked = one(http, user_id="ann", k=40)["items"]
    for item in one(http, user_id="ann", sort="-price", k=40)["items"]:
        assert item["score"] >= next(other["score"] for other in ranked if other["item_id"] == item["item_id"]) - 1e-6


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize(
    "request_",
    [{}, {"user_id": "ann"}, {"user_id": "bob", "query": "snack"}, {"query": "oat milk"}, {"query": "燕麦"},
     {"query": "milk under $3"}, {"query": "under $9", "filters": {"attributes": {"Diet": ["vegetarian"]}}},
     {"query": "oat milk", "filters": {"brands": ["Crunch"]}}, {"query": "zzzz"}, {"exclude": ["oat", "box"]}],
)  # fmt: skip
def test_pages_are_the_whole_result_in_the_order_of_one_answer(http, request_, sort):
    whole = one(http, k=500, sort=sort, **request_)
    assert whole["cursor"] == "" and whole["total"] == len(_ids(whole)) == len(set(_ids(whole)))
    for k in (1, 3, 7):
        pages = _pages(lambda **asked: one(http, **asked), k=k, sort=sort, **request_)
        assert _flat(pages) == _ids(whole) and all(len(page) == k for page in pages[:-1])


def test_pages_are_as_of_the_first_one(http):
    first = one(http, user_id="ann", k=3, context={"timestamp": 1_699_900_000})
    second = one(http, user_id="ann", k=3, context={"timestamp": 1_700_000_000}, cursor=first["cursor"])
    assert second["as_of"] == first["as_of"]


def test_scores_fall_and_items_beyond_the_ranking_have_none(http):
    items = one(http, user_id="ann", k=500)["items"]
    scores = [item["score"] for item in items]
    assert scores == sorted(scores, reverse=True) and scores[-1] == 0 and all(item["reasons"] for item in items)


@pytest.mark.parametrize(
    "other",
    [{"query": "oat"}, {"user_id": "bob"}, {"sort": "price"}, {"filters": {"price_max": 3}}, {"verbatim": True},
     {"history": []}, {"user_id": None}],
)  # fmt: skip
def test_a_cursor_of_another_request_is_refused_by_name(http, other):
    request = {"user_id": "ann", "query": "milk", "k": 1}
    cursor = one(http, **request)["cursor"]
    assert one(http, **{**request, "k": 2, "facets": ["brand"]}, cursor=cursor)["items"]
    refused = http.post(PREDICT, json={"instances": [{**request, **other, "cursor": cursor}]})
    assert refused.status_code == 400 and refused.json()["field"] == "instances[0].cursor"
    assert "another request" in refused.json()["error"] and "filters, history" in refused.json()["fix"]


def test_damaged_and_foreign_cursors_are_refused(http):
    cursor = one(http, k=3)["cursor"]
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    changed = base64.urlsafe_b64encode(raw[:20] + bytes([raw[20] ^ 1]) + raw[21:]).decode()
    for wrong in (cursor[:-2], cursor + "AAAA", changed, "x", "A", "====", "page 2", "第二页", "eyJwYWdlIjogMn0"):
        refused = http.post(PREDICT, json={"instances": [{}, {"k": 3, "cursor": wrong}]})
        assert refused.status_code == 400, wrong
        assert refused.json()["field"] == "instances[1].cursor" and "first page" in refused.json()["fix"]
    refused = http.post(PREDICT, json={"instances": [{"cursor": "A" * 20_001}]})
    assert refused.status_code == 400 and refused.json()["field"] == "instances[0].cursor"


def test_unknown_sorts_are_refused_by_name(http):
    for wrong in ("cheapest", "PRICE", 1, ["price"]):
        refused = http.post(PREDICT, json={"instances": [{"sort": wrong}]})
        assert refused.status_code == 400 and refused.json()["field"] == "instances[0].sort"
        assert "-price" in refused.json()["fix"]


def test_v2_sorts_and_pages_like_v1(http):
    inputs = [tensor("query", ["milk"]), tensor("k", [2], "INT64"), tensor("sort", ["-price"])]
    first = outputs(http.post(INFER, json={"inputs": inputs}))
    assert first["item_id"] == ["oat", "燕麦"] and first["total"] == [3]
    second = outputs(http.post(INFER, json={"inputs": [*inputs, tensor("cursor", first["cursor"])]}))
    assert second["item_id"] == ["whole"] and second["cursor"] == [""]
    refused = http.post(INFER, json={"inputs": [*inputs[:2], tensor("cursor", first["cursor"])]})
    assert refused.status_code == 400 and refused.json()["field"] == "cursor"


def test_newest_without_creation_times_is_refused(engine, signed, tmp_path):
    bundle, _ = signed
    without = refreshed(bundle, tmp_path / "bundle", {item[0]: {"created_at": None} for item in ITEMS})
    with pytest.raises(RequestError, match="no item of this model has a created_at") as refusal:
        _asked(without, sort="newest")
    assert refusal.value.field == "sort" and "created_at" in refusal.value.fix


CHANGES = {"snack3": {"available": False}, "oat": {"available": False}, "snack20": {"title": "Snack of numbers"}}
ADDED = [{"item_id": "a new snack", "title": "Snack number 99", "list_price": 0.5, "price": 0.5},
         {"item_id": "milk2", "title": "Rice milk", "list_price": 9.75, "price": 9.75},
         {"item_id": "零食", "title": "Snack 零食", "list_price": 12.0, "price": 12.0}]  # fmt: skip


@pytest.fixture(scope="module")
def after(signed, tmp_path_factory):
    """The engine of the same model with its catalog refreshed."""
    return refreshed(signed[0], tmp_path_factory.mktemp("refreshed") / "bundle", CHANGES, ADDED)


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("request_", [{"user_id": "ann"}, {"query": "snack"}, {"user_id": "bob", "query": "number"}])
@pytest.mark.parametrize("pages_before", [1, 4])
def test_no_item_comes_twice_or_is_lost_when_the_catalog_is_refreshed(engine, after, request_, sort, pages_before):
    asked, seen = {"k": 5, "sort": sort, **request_}, []
    answer = _asked(engine, **asked)
    before = set(_flat(_pages(lambda **again: _asked(engine, **again), **asked)))
    for _ in range(pages_before):
        seen += _ids(answer)
        cursor = answer["cursor"]
        answer = _asked(engine, **asked, cursor=cursor)
    seen += _flat(_pages(lambda **again: _asked(after, **again), **asked, cursor=cursor))
    assert len(seen) == len(set(seen))
    still = {item["item_id"] for item in _asked(after, **{**asked, "k": 500})["items"]}
    assert before & still <= set(seen)


def test_a_long_result_is_paged_to_its_end(signed, tmp_path):
    bundle, _ = signed
    added = [{"item_id": f"b{n}", "title": f"Bulk snack {n % 7}", "list_price": float(n % 50), "price": 1.0,
              "brand": f"brand {n}"} for n in range(2_600)]  # fmt: skip
    large = refreshed(bundle, tmp_path / "bundle", {}, added)
    for request in ({"query": "snack"}, {"user_id": "ann"}, {"query": "bulk snack", "sort": "-price"}):
        answer = _asked(large, k=1, facets=["brand"], **request)
        pages = _pages(lambda **asked: _asked(large, **asked), k=500, **request)
        found = _flat(pages)
        assert len(found) == len(set(found)) == answer["total"] > 2_500, request
    brand = answer["facets"]["brand"]
    assert len(brand["values"]) == 100 and brand["others"] == 2_500
    longest = max(len(_asked(large, k=500, query="snack", cursor=cursor)["cursor"]) for cursor in _cursors(large))
    assert longest < 20_000


def _cursors(engine):
    cursor = _asked(engine, k=500, query="snack")["cursor"]
    while cursor:
        yield cursor
        cursor = _asked(engine, k=500, query="snack", cursor=cursor)["cursor"]


def test_only_the_first_page_explores_and_the_next_shows_what_it_left_out(signed):
    bundle, _ = signed
    exploring = Engine.open(bundle, verify(bundle, None), 1, "bundle", ExplorationConfig(share=0.999, pool=10))
    answer = exploring.answer([parse_instance({"user_id": "ann", "k": 4})], ["explores"])[0]
    assert len(answer.propensities) == 4
    later = exploring.answer([parse_instance({"user_id": "ann", "k": 500, "cursor": answer.cursor})], ["again"])[0]
    shown = [item.item_id for item in (*answer.items, *later.items)]
    assert len(shown) == len(set(shown)) == answer.total == 39 and later.propensities == ()


def test_grpc_sorts_counts_pages_and_suggests_like_v1(http, predictor):
    def ask(stub, **columns):
        request = pb.ModelInferRequest(model_name="shoprank")
        for name, text in columns.items():
            tensor_ = request.inputs.add(name=name, shape=[1], datatype="BYTES")
            tensor_.contents.bytes_contents.append(text.encode())
        answer = stub.ModelInfer(request)
        return InferResponse.from_grpc(answer)

    with grpc.insecure_channel(f"127.0.0.1:{predictor.grpc_port}") as channel:
        stub = GRPCInferenceServiceStub(channel)

        def values(answer, name):
            return next(one for one in answer.outputs if one.name == name).as_numpy().ravel().tolist()

        first = ask(stub, query="snack", sort="-price", facets='["brand"]')
        v1 = one(http, query="snack", sort="-price", facets=["brand"])
        assert _text(values(first, "item_id")) == _ids(v1) and values(first, "total") == [33]
        assert json.loads(_text(values(first, "facets"))[0]) == v1["facets"]
        (cursor,) = _text(values(first, "cursor"))
        assert cursor == v1["cursor"]
        second = ask(stub, query="snack", sort="-price", cursor=cursor)
        assert _text(values(second, "item_id"))[0] == "snack22"
        suggested = json.loads(_text(values(ask(stub, suggest="sna"), "suggestions"))[0])
        assert suggested == one(http, suggest="sna")["suggestions"]
        with pytest.raises(grpc.RpcError) as refusal:
            ask(stub, query="milk", cursor=cursor)
        assert refusal.value.code() == grpc.StatusCode.INVALID_ARGUMENT and "'cursor'" in refusal.value.details()


def _text(values):
    return [value.decode() if isinstance(value, bytes) else value for value in values]
