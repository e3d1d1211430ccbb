"""No shopper id, query, key or token in what the predictor prints, at its most talkative log level."""

import copy
import json
import logging
import struct

import grpc
import httpx
import pytest
from kserve.logging import KSERVE_LOG_CONFIG
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from components.shared.access_keys import new_key
from components.validate_serving.predictor import PredictorConfig, running
from serving.access.quiet_logs import without_values
from serving.tests.access_files import bearer, client, token_issuer, write_access

MARK = "m4rk3d"
"""Part of every value that must not appear."""
PREDICT, EXPLAIN, INFER = "/v1/models/shoprank:predict", "/v1/models/shoprank:explain", "/v2/models/shoprank/infer"


@pytest.fixture(scope="module")
def talkative(signed, tmp_path_factory):
    """(predictor at debug level, a key of it, a token of it)."""
    folder = tmp_path_factory.mktemp("talkative")
    key, entry = client("web", ["ask", "explain", "admin"])
    config = copy.deepcopy(KSERVE_LOG_CONFIG)
    for logger in config["loggers"].values():
        logger["level"] = "DEBUG"
    (folder / "log.json").write_text(json.dumps(config))
    with token_issuer() as issuer:
        access = write_access(folder / "access.yaml", [entry], [issuer.entry()])
        further = ("--access", str(access), "--enable_latency_logging", "true",
                   "--log_config_file", str(folder / "log.json"))  # fmt: skip
        with running(signed[0], PredictorConfig(public_key=signed[1], further=further)) as found:
            yield found, key, issuer.token("first", sub=f"{MARK}-client")


def _bodies():
    """Bodies of REST, good, broken and refused."""
    good = {"user_id": f"{MARK}-shopper", "query": f"{MARK} milk", "exclude": [f"{MARK}-item"]}
    yield json.dumps({"instances": [good]})
    yield json.dumps({"instances": [{**good, "k": f"{MARK}"}]})
    yield json.dumps({"instances": [{**good, f"{MARK}": 1}]})
    yield json.dumps({"instances": [{"user_id": [f"{MARK}"]}]})
    yield json.dumps({"instances": [{"user_id": f"{MARK}" * 1_000}]})
    yield json.dumps({"instances": [{"cursor": f"{MARK}", "query": f"{MARK}"}]})
    yield json.dumps({"instances": [{"history": [{"item_id": f"{MARK}"}]}]})
    yield f'{{"instances": [{{"user_id": "{MARK}'
    yield f"{MARK}"
    tensor = {"name": "user_id", "shape": [1], "datatype": "BYTES", "data": [f"{MARK}-shopper"]}
    yield json.dumps({"inputs": [tensor]})
    yield json.dumps({"inputs": [{**tensor, "name": f"{MARK}"}]})
    yield json.dumps({"inputs": [{**tensor, "datatype": f"{MARK}"}]})
    yield json.dumps({"inputs": [{**tensor, "name": "k", "datatype": "INT64"}]})
    yield json.dumps({"inputs": [{**tensor, "name": "filters", "data": [f"{MARK}"]}]})
    yield json.dumps({"inputs": [{**tensor, "shape": [f"{MARK}"]}]})


def _rest(url, key, token):
    answers = []
    with httpx.Client(base_url=url, trust_env=False, timeout=60, headers={"cookie": f"shopper={MARK}"}) as http:
        for body in _bodies():
            for path in (PREDICT, EXPLAIN, INFER, f"/v1/models/{MARK}:predict", f"/v2/models/{MARK}/infer"):
                for credential in (bearer(key), bearer(token), {}):
                    headers = {"content-type": "application/json", "x-request-id": f"{MARK} no id", **credential}
                    answers.append(http.post(path, content=body, headers=headers, params={"key": f"{MARK}"}))
        for credential in (f"{MARK}", f"{MARK}.{MARK}.{MARK}", key + MARK, new_key()[:-6] + MARK, token + MARK):
            answers.append(http.post(PREDICT, json={"instances": [{}]}, headers=bearer(credential)))
            answers.append(http.get(f"/shoppers/{MARK}", params={"api_key": credential}, headers=bearer(key)))
            answers.append(http.post(f"/v2/repository/models/{MARK}/load", headers=bearer(key)))
        binary = json.dumps({"inputs": [{"name": "user_id", "shape": [1], "datatype": "BYTES",
                                         "parameters": {"binary_data_size": 99}}]}).encode()  # fmt: skip
        headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(binary))}
        answers.append(http.post(INFER, content=binary + MARK.encode(), headers={**headers, **bearer(key)}))
        headers["inference-header-content-length"] = f"{MARK}"
        answers.append(http.post(INFER, content=binary, headers={**headers, **bearer(key)}))
    return {answer.status_code for answer in answers}


def _grpc(port, key):
    codes = set()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = GRPCInferenceServiceStub(channel)
        for name, values, credential in (
            ("user_id", [f"{MARK}-shopper".encode()], key), ("query", [f"{MARK} milk".encode()], key),
            ("user_id", [MARK.encode() * 1_000], key), (MARK, [b"x"], key), ("filters", [MARK.encode()], key),
            ("history", [f'[{{"item_id": "{MARK}"}}]'.encode()], key), ("user_id", [b"x"], MARK), ("user_id", [], key),
        ):  # fmt: skip
            request = pb.ModelInferRequest(model_name="shoprank", id=f"{MARK}-request")
            tensor = request.inputs.add(name=name, datatype="BYTES", shape=[len(values)])
            tensor.contents.bytes_contents.extend(values)
            raw = pb.ModelInferRequest(model_name=f"{MARK}")
            raw.inputs.add(name="user_id", datatype="BYTES", shape=[1])
            raw.raw_input_contents.append(struct.pack("<I", 1_000) + MARK.encode())
            for one in (request, raw):
                try:
                    stub.ModelInfer(one, metadata=[("x-api-key", credential), ("x-shopper", MARK)], timeout=60)
                    codes.add("OK")
                except grpc.RpcError as error:
                    codes.add(error.code().name)
        unknown = channel.unary_unary(f"/inference.GRPCInferenceService/{MARK}")
        with pytest.raises(grpc.RpcError):
            unknown(MARK.encode(), metadata=[("x-api-key", key)], timeout=60)
    return codes


def test_nothing_that_a_client_sends_is_printed(talkative):
    predictor, key, token = talkative
    assert {200, 400, 401, 403, 404} <= _rest(predictor.url, key, token)
    assert {"OK", "INVALID_ARGUMENT", "UNAUTHENTICATED", "NOT_FOUND"} <= _grpc(predictor.grpc_port, key)
    printed = predictor.log.read_text(errors="replace")
    # It does talk: of requests, of admin calls, and at debug level.
    for talk in ("/v1/models/{name}:predict", '"client": "web"', "DEBUG"):
        assert talk in printed, talk
    leaked = [line for line in printed.splitlines() if MARK in line or key[9:30] in line or token[:40] in line]
    assert leaked == []


def test_a_traceback_keeps_types_and_places_alone():
    def fail():
        try:
            raise KeyError(f"{MARK} inner")
        except KeyError as error:
            raise ValueError(f"{MARK} outer") from error

    with pytest.raises(ValueError) as failure:
        fail()
    text = without_values(failure.value)
    assert "KeyError" in text and "ValueError" in text and "in fail" in text and MARK not in text.replace(
        'f"{MARK}', "").replace("{MARK}", "")  # fmt: skip


def test_handlers_of_any_logger_leave_messages_of_errors_out(tmp_path):
    from serving.access.quiet_logs import quiet

    root = logging.Logger("root of this test")
    root.manager = logging.Manager(root)
    handler = logging.FileHandler(tmp_path / "log")
    root.addHandler(handler)
    quiet(root)
    try:
        raise ValueError(MARK)
    except ValueError as error:
        root.error("failed", exc_info=True)
        root.error("failed: %s", error)
    handler.close()
    text = (tmp_path / "log").read_text()
    assert (
        text.count("\nValueError (") == 1
        and "failed: ValueError\n" in text
        and MARK not in text.replace("raise ValueError(MARK)", "")
    )
