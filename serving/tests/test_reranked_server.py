"""A running predictor with a file of rules: V1, V2 and gRPC, a change of the file, metrics."""

import json

import grpc
import httpx
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from components.shared.tests.waiting import eventually
from components.validate_serving.predictor import PredictorConfig, running
from serving.__main__ import main

PREDICT, INFER = "/v1/models/shoprank:predict", "/v2/models/shoprank/infer"
RULES = """
rules:
  - name: 牛奶 first
    when: {kind: query, match: words, texts: [milk]}
    actions:
      - {kind: pin, items: [%s]}
      - {kind: redirect, to: /milk}
"""


@pytest.fixture(scope="module")
def served(signed, tmp_path_factory):
    """(predictor, client, file of rules)."""
    rules = tmp_path_factory.mktemp("rules") / "rules.yaml"
    rules.write_text(RULES % "berries", encoding="utf-8")
    config = PredictorConfig(public_key=signed[1], further=("--rules", str(rules)))
    with running(signed[0], config) as found, httpx.Client(base_url=found.url, trust_env=False, timeout=10) as client:
        yield found, client, rules


def _one(client, **request):
    answer = client.post(PREDICT, json={"instances": [request]})
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"][0]


def _columns(client, **inputs):
    kinds = {str: "BYTES", float: "FP64", int: "INT64"}
    tensors = [{"name": name, "shape": [1], "datatype": kinds[type(value)], "data": [value]}
               for name, value in inputs.items()]  # fmt: skip
    answer = client.post(INFER, json={"inputs": tensors})
    assert answer.status_code == 200, answer.text
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}


def test_v1_and_v2_tell_rules_and_redirect(served):
    _, client, _ = served
    answer, columns = _one(client, query="milk", k=2), _columns(client, query="milk", k=2)
    assert answer["items"][0]["item_id"] == "berries" == columns["item_id"][0]
    assert (answer["rules"], answer["redirect"]) == (["牛奶 first"], "/milk")
    assert (json.loads(columns["rules"][0]), columns["redirect"]) == (["牛奶 first"], ["/milk"])
    assert not {"rules", "redirect"} & set(_one(client, k=1)) and _columns(client, k=1)["rules"] == ["[]"]


def test_v2_takes_relations_and_diversity_like_v1(served):
    _, client, _ = served
    for fields in ({"similar_to": "oat"}, {"more_like": "oat", "query": "snack"}, {"diversity": 0.5}):
        ids = [item["item_id"] for item in _one(client, **fields)["items"]]
        assert _columns(client, **fields)["item_id"] == ids and ids, fields
    assert _columns(client, bought_with='["oat"]')["item_id"] == ["snack0"]
    assert _one(client, bought_with=["oat"])["items"][0]["item_id"] == "snack0"


def test_grpc_takes_relations_and_diversity(served):
    predictor, client, _ = served
    request = pb.ModelInferRequest(model_name="shoprank")
    request.inputs.add(name="similar_to", shape=[1], datatype="BYTES").contents.bytes_contents.append(b"oat")
    request.inputs.add(name="diversity", shape=[1], datatype="FP32").contents.fp32_contents.append(0.25)
    with grpc.insecure_channel(f"127.0.0.1:{predictor.grpc_port}") as channel:
        answer = GRPCInferenceServiceStub(channel).ModelInfer(request)
    raw = answer.raw_output_contents[0]
    first = raw[4 : 4 + int.from_bytes(raw[:4], "little")].decode()
    assert first == _one(client, similar_to="oat", diversity=0.25)["items"][0]["item_id"]


def test_refusals_name_the_field(served):
    _, client, _ = served
    for request, field in [({"similar_to": "oat", "query": "milk"}, "similar_to"), ({"diversity": 2}, "diversity")]:
        answer = client.post(PREDICT, json={"instances": [request]})
        assert answer.status_code == 400 and answer.json()["field"] == f"instances[0].{field}"


def test_a_changed_file_is_followed_and_a_broken_one_refused(served):
    _, client, rules = served

    def first():
        return _one(client, query="milk", k=1)["items"][0]["item_id"]

    assert first() == "berries"
    rules.write_text("rules: [{name: ", encoding="utf-8")
    assert eventually(lambda: "shoprank_rules_refused 1.0" in client.get("/metrics").text)
    assert first() == "berries"
    rules.write_text(RULES % "yogurt", encoding="utf-8")
    assert eventually(lambda: first() == "yogurt")
    text = client.get("/metrics").text
    assert "shoprank_rules_refused 0.0" in text and "shoprank_rules 1.0" in text
    assert 'shoprank_rules_acted_total{rule="牛奶 first"}' in text


def test_a_file_that_does_not_exist_is_refused_at_the_start(signed, tmp_path, capsys):
    ports = ["--http_port", "28080", "--grpc_port", "28081"]
    assert main([*ports, "--model_dir", str(signed[0]), "--rules", str(tmp_path / "no.yaml")]) == 2
    assert "no.yaml is no file" in capsys.readouterr().err
