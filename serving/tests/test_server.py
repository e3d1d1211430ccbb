"""The real predictor process over real HTTP and gRPC: answers, refusals (never a 500), metrics, probes under load."""

import json
import statistics
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from components.shared.tests.waiting import eventually

PREDICT, EXPLAIN, INFER = "/v1/models/shoprank:predict", "/v1/models/shoprank:explain", "/v2/models/shoprank/infer"


@pytest.fixture(scope="module")
def http(predictor):
    with httpx.Client(base_url=predictor.url, trust_env=False, timeout=10) as client:
        yield client


@pytest.fixture(scope="module")
def grpc_stub(predictor):
    with grpc.insecure_channel(f"127.0.0.1:{predictor.grpc_port}") as channel:
        yield GRPCInferenceServiceStub(channel)


def _one(http, **request):
    answer = http.post(PREDICT, json={"instances": [request]})
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"][0]


def test_v1_answers_have_all_fields(http):
    answer = _one(http, user_id="ann", k=2)
    assert [item["item_id"] for item in answer["items"]] == ["oat", "yogurt"]
    assert set(answer) == {"items", "model_version", "request_id", "note", "warnings", "as_of", "total", "cursor"}
    assert set(answer["items"][0]) == {"item_id", "title", "price", "score", "reasons"}
    assert _one(http, query="燕麦奶 🥛", k=1)["items"][0]["item_id"] == "燕麦"
    assert _one(http, query="Mystery box", k=1)["items"][0]["price"] is None


def test_valid_request_ids_are_kept_and_others_replaced(http):
    def id_of(sent, instances=1):
        body = {"instances": [{}] * instances}
        return [one["request_id"] for one in
                http.post(PREDICT, json=body, headers={"x-request-id": sent}).json()["predictions"]]  # fmt: skip

    assert id_of("order-7:a") == ["order-7:a"]
    assert id_of("b", 2) == ["b-0", "b-1"]
    assert len(id_of("no spaces!")[0]) == 32


def test_a_charset_in_the_content_type_is_understood(http):
    body = json.dumps({"instances": [{"query": "燕麦奶", "k": 1}]}, ensure_ascii=False)
    for charset in ("utf-8", "GBK"):
        headers = {"content-type": f"application/json; charset={charset}"}
        answer = http.post(PREDICT, content=body.encode(charset), headers=headers)
        assert answer.json()["predictions"][0]["items"][0]["item_id"] == "燕麦"


def test_explain_returns_details_and_echoes_no_request_headers(http):
    headers = {"authorization": "Bearer secret", "cookie": "a=b"}
    answer = http.post(EXPLAIN, json={"instances": [{"user_id": "ann", "k": 1}]}, headers=headers)
    item = answer.json()["explanations"][0]["items"][0]
    assert {"contributions", "features", "probabilities", "retrieval_score", "sources"} <= set(item)
    assert "authorization" not in answer.headers and "cookie" not in answer.headers


@pytest.mark.parametrize(
    ("request_", "field"),
    [({"k": k}, "k") for k in (0, -1, 10**9, "ten", True, 2.5)]
    + [
        ({"query": "a" * 20_000}, "query"), ({"user": "x"}, "user"), ({"filters": {"price_min": "cheap"}}, "price_min"),
        ({"history": [{"item_id": "x"}]}, "history[0]"), ([], "instances[0]"), ("x", "instances[0]"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", [PREDICT, EXPLAIN])
def test_invalid_fields_return_400_and_are_named(http, path, request_, field):
    answer = http.post(path, json={"instances": [request_]})
    assert answer.status_code == 400
    assert field in answer.json()["field"] and field in answer.json()["error"] and answer.json()["fix"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe", b'{"instances": 5}', b'{"instances": [{"k": NaN}]}', b"[" * 5000,
     b'{"instances": [{"user_id": "\\ud800"}]}'],
)  # fmt: skip
def test_malformed_bodies_return_400(http, content):
    for path in (PREDICT, EXPLAIN, INFER):
        for content_type in ("application/json", "application/json; charset=utf-8", "text/plain"):
            answer = http.post(path, content=content, headers={"content-type": content_type})
            assert answer.status_code == 400, (path, content_type, answer.text)
            assert answer.json()["error"]


def test_body_over_the_limit_returns_413_with_or_without_its_length(http):
    large = json.dumps({"instances": [{"query": "a" * 10_000_000}]}).encode()
    assert http.post(PREDICT, content=large).status_code == 413

    def chunks():
        for start in range(0, len(large), 100_000):
            yield large[start : start + 100_000]

    try:
        assert http.post(PREDICT, content=chunks()).status_code == 413
    except httpx.TransportError:
        pass  # the server may close while the client still sends
    assert _one(http, k=1)["items"]


def _tensor(name, values, datatype="BYTES", shape=None):
    return {"name": name, "datatype": datatype, "shape": shape or [len(values)], "data": values}


def test_v2_answers_like_v1(http):
    body = {"id": "q1", "inputs": [_tensor("user_id", ["ann", "bob"]), _tensor("k", [3], "INT64"),
                                   _tensor("filters", ['{"price_max": 4}', ""])]}  # fmt: skip
    answer = http.post(INFER, json=body)
    assert answer.status_code == 200, answer.text
    outputs = {output["name"]: output for output in answer.json()["outputs"]}
    first = _one(http, user_id="ann", k=3, filters={"price_max": 4})["items"]
    assert outputs["item_id"]["shape"] == [2, 3] and outputs["count"]["data"] == [3, 3]
    assert outputs["item_id"]["data"][:3] == [item["item_id"] for item in first]
    assert outputs["score"]["data"][:3] == pytest.approx([item["score"] for item in first], abs=1e-6)
    assert outputs["reasons"]["data"][0] == "; ".join(first[0]["reasons"])
    assert answer.json()["id"] == "q1" and answer.json()["model_version"].startswith("20231114-")


def test_v2_search_tells_what_was_understood_and_takes_verbatim(http):
    def ask(*inputs):
        outputs = http.post(INFER, json={"inputs": [_tensor("query", ["bluebery"]), *inputs]}).json()["outputs"]
        found = {output["name"]: output["data"] for output in outputs}
        return found["item_id"], json.loads(found["search"][0])

    assert ask() == (["berries"], {"text": "blueberries", "corrected": {"bluebery": "blueberries"}})
    items, search = ask(_tensor("verbatim", [True], "BOOL"))
    assert items == [] and search["unknown"] == ["bluebery"]
    refused = http.post(INFER, json={"inputs": [_tensor("verbatim", [1], "INT64")]})
    assert refused.status_code == 400 and refused.json()["field"] == "verbatim"


def test_v2_empty_answers_have_width_zero(http):
    body = {"inputs": [_tensor("filters", ['{"price_min": 999}'])]}
    outputs = {output["name"]: output for output in http.post(INFER, json=body).json()["outputs"]}
    assert outputs["item_id"]["shape"] == [1, 0] and outputs["count"]["data"] == [0]
    assert outputs["warnings"]["data"] == ["filters: no item matches"]


@pytest.mark.parametrize(
    "inputs",
    [
        [], [_tensor("user", ["a"])], [_tensor("k", [0], "INT64")], [_tensor("k", [2.5], "FP32")],
        [_tensor("k", [2.5], "INT64")], [_tensor("k", ["ten"], "INT64")], [_tensor("k", [[1], [2, 3]], "INT64", [2])],
        [_tensor("user_id", ["a", "b"], shape=[3])], [_tensor("user_id", ["a"], shape=[-1])],
        [_tensor("user_id", [True])], [_tensor("user_id", ["a"]), _tensor("user_id", ["b"])],
        [_tensor("user_id", ["a"], "NONSENSE")], [_tensor("filters", ["{"])], [_tensor("query", ["a" * 20_000])],
        [_tensor("user_id", [], shape=[10**12])], [_tensor("user_id", ["a"], shape=[10**30])], [{"name": "k"}],
        [_tensor("timestamp", [10**15], "INT64")], [_tensor("user_id", ["\ud800"])],
    ],
)  # fmt: skip
def test_invalid_v2_request_returns_400(http, inputs):
    answer = http.post(INFER, content=json.dumps({"inputs": inputs}), headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize("length", ["abc", "-5", "10", "99999", "2"])
@pytest.mark.parametrize("content", [b'{"inputs": [{"name": "k"}]}', b"{}\x01\x02", b'{"inputs": 5}'])
def test_malformed_binary_v2_request_returns_400(http, content, length):
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": length}
    assert http.post(INFER, content=content, headers=headers).status_code == 400


def test_binary_v2_request_is_answered(http):
    raw = len(b"ann").to_bytes(4, "little") + b"ann"
    body = json.dumps({"inputs": [{"name": "user_id", "datatype": "BYTES", "shape": [1],
                                   "parameters": {"binary_data_size": len(raw)}}]}).encode()  # fmt: skip
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(body))}
    answer = http.post(INFER, content=body + raw, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["outputs"][0]["data"][0] == "oat"


def _grpc_request(**columns):
    request = pb.ModelInferRequest(model_name="shoprank", id="g1")
    for name, values in columns.items():
        tensor = request.inputs.add(name=name, shape=[len(values)])
        if isinstance(values[0], bytes):
            tensor.datatype = "BYTES"
            tensor.contents.bytes_contents.extend(values)
        else:
            tensor.datatype = "INT64"
            tensor.contents.int64_contents.extend(values)
    return request


def test_grpc_answers_like_v1(http, grpc_stub):
    answer = grpc_stub.ModelInfer(_grpc_request(user_id=[b"ann"], k=[2]))
    first = _one(http, user_id="ann", k=2)["items"]
    names = [output.name for output in answer.outputs]
    assert names[0] == "item_id" and answer.id == "g1" and list(answer.outputs[0].shape) == [1, 2]
    raw, items = answer.raw_output_contents[0], []
    while raw:
        length = int.from_bytes(raw[:4], "little")
        items.append(raw[4 : 4 + length].decode())
        raw = raw[4 + length :]
    assert items == [item["item_id"] for item in first]


@pytest.mark.parametrize("columns", [{"k": [0]}, {"user": [b"x"]}, {"user_id": [b"\xff"]}, {"history": [b"{"]}, {}])
def test_invalid_grpc_request_returns_invalid_argument(grpc_stub, columns):
    with pytest.raises(grpc.RpcError) as refusal:
        grpc_stub.ModelInfer(_grpc_request(**columns))
    assert refusal.value.code() == grpc.StatusCode.INVALID_ARGUMENT and refusal.value.details()


def test_malformed_raw_grpc_tensor_returns_invalid_argument(grpc_stub):
    request = pb.ModelInferRequest(model_name="shoprank")
    request.inputs.add(name="user_id", datatype="BYTES", shape=[1])
    request.raw_input_contents.append(b"\xff\xff\xff\xffshort")
    with pytest.raises(grpc.RpcError) as refusal:
        grpc_stub.ModelInfer(request)
    assert refusal.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_grpc_readiness_and_metadata(grpc_stub, http):
    assert grpc_stub.ModelReady(pb.ModelReadyRequest(name="shoprank")).ready
    inputs = {tensor["name"]: tensor["datatype"] for tensor in http.get("/v2/models/shoprank").json()["inputs"]}
    assert inputs["user_id"] == "BYTES" and inputs["k"] == "INT64"


def test_other_models_and_repository_calls_are_refused(http):
    assert http.post("/v1/models/other:predict", json={"instances": [{}]}).status_code == 404
    for call in ("load", "unload"):
        assert http.post(f"/v2/repository/models/shoprank/{call}").status_code == 400
    assert http.get("/v2/models/shoprank/ready").json()["ready"] is True


def test_metrics_count_by_stage_and_kind(http):
    _one(http, user_id="ann"), _one(http, query="milk"), _one(http)
    text = http.get("/metrics").text
    for stage in ("parse", "wait", "features", "retrieval", "ranking", "explain"):
        assert f'shoprank_stage_seconds_count{{stage="{stage}"}}' in text
    for kind in ("recommend", "search", "cold"):
        assert f'shoprank_requests_total{{kind="{kind}"}}' in text
    assert 'shoprank_model_info{name="handmade"' in text and "shoprank_refused_total" in text


def test_probes_do_not_wait_for_earlier_requests(predictor, http):
    stop, answers, answered_first = threading.Event(), [], []

    def load():
        with httpx.Client(base_url=predictor.url, trust_env=False, timeout=60) as client:
            while not stop.is_set():
                assert client.post(PREDICT, json={"instances": [{"user_id": "ann", "k": 40}] * 16}).status_code == 200
                answers.append(1)

    with ThreadPoolExecutor(8) as pool:
        work = [pool.submit(load) for _ in range(8)]
        try:
            for _ in range(10):
                before = len(answers)
                assert eventually(lambda before=before: len(answers) >= before + 8, poll_s=0.001), "no load"
                before = len(answers)
                assert http.get("/v2/models/shoprank/ready").status_code == 200
                answered_first.append(len(answers) - before)
        finally:
            stop.set()
        for one in work:
            one.result()
    # Answered in the thread of the probes, seven or eight answers come first.
    assert statistics.median(answered_first) <= 4, answered_first


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"shape": [1, None]}, "inputs"), ({"shape": ["a"]}, "inputs"), ({"shape": {}}, "inputs"),
        ({"name": 5}, "inputs"),
        ({"shape": [-7]}, "inputs"), ({"datatype": []}, "inputs"), ({"parameters": "x"}, ""), ({"id": 5}, ""),
        ({"outputs": [{"name": []}]}, ""), ({"outputs": [{"name": "item_id", "parameters": "x"}]}, ""),
    ],
    ids=str,
)  # fmt: skip
def test_a_binary_body_whose_header_has_wrong_types_returns_400(http, part, field):
    raw = struct.pack("<I", 3) + b"ann"
    tensor = {"name": "user_id", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}
    header = {"inputs": [{**tensor, **part}]} if field else {"inputs": [tensor], **part}
    for content in (raw, struct.pack("<I", 3) + b"\xff\xfe\xfd"):
        body = json.dumps(header).encode()
        headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(body))}
        answer = http.post(INFER, content=body + content, headers=headers)
        assert answer.status_code == 400 and answer.json()["error"], answer.text
