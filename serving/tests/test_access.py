"""Keys, tokens, scopes and limits of a running predictor, over REST and gRPC; changes of its access file."""

import re
import time

import grpc
import httpx
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from prometheus_client import REGISTRY

from components.shared.release.audit import AuditLog
from components.shared.release.documents import FolderDocuments
from components.shared.tests.waiting import eventually
from components.validate_serving.predictor import PredictorConfig, running
from serving.protocol import parse_instance
from serving.shadow import Shadow, ShadowConfig
from serving.tests.access_files import bearer, client, token_issuer, write_access
from serving.tests.forged_tokens import forged

PREDICT, EXPLAIN, INFER = "/v1/models/shoprank:predict", "/v1/models/shoprank:explain", "/v2/models/shoprank/infer"
BODY = {"instances": [{"user_id": "ann", "k": 1}]}


class Shop:
    """A predictor with an access file that tests add clients to."""

    def __init__(self, folder, issuer):
        self.folder, self.issuer, self.path = folder, issuer, folder / "access.yaml"
        self.clients, self.number = [], 0
        self.admin = self._entry(["ask", "admin"])
        self.explainer = self._entry(["explain"])
        self.write()

    def write(self, **further):
        write_access(self.path.with_suffix(".new"), self.clients, [self.issuer.entry()], **further)
        self.path.with_suffix(".new").replace(self.path)

    def _entry(self, scopes, **further):
        self.number += 1
        key, entry = client(f"client {self.number}", scopes, **further)
        self.clients.append(entry)
        return key

    def add(self, http, scopes, **further):
        """Key of a client that is known to the running predictor."""
        key = self._entry(scopes, **further)
        probe = self._entry(["admin"])
        self.write()
        # The same version of the file has both; the probe's call costs the client nothing of its limits.
        known = lambda: http.get("/nothing", headers=bearer(probe)).status_code == 404  # noqa: E731
        assert eventually(known), "the access file was not read"
        return key


@pytest.fixture(scope="module")
def issuer():
    with token_issuer() as found:
        yield found


@pytest.fixture(scope="module")
def shop(tmp_path_factory, issuer):
    return Shop(tmp_path_factory.mktemp("access"), issuer)


@pytest.fixture(scope="module")
def guarded(signed, shop):
    further = ("--access", str(shop.path), "--audit_log", str(shop.folder / "audit"),
               "--cors_origin", "https://shop.example")  # fmt: skip
    with running(signed[0], PredictorConfig(public_key=signed[1], further=further)) as found:
        yield found


@pytest.fixture(scope="module")
def http(guarded):
    with httpx.Client(base_url=guarded.url, trust_env=False, timeout=60) as client_:
        yield client_


@pytest.fixture(scope="module")
def stub(guarded):
    with grpc.insecure_channel(f"127.0.0.1:{guarded.grpc_port}") as channel:
        yield GRPCInferenceServiceStub(channel)


def _infer(stub, **metadata):
    request = pb.ModelInferRequest(model_name="shoprank")
    request.inputs.add(name="user_id", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"ann")
    return stub.ModelInfer(request, metadata=[(name.replace("_", "-"), value) for name, value in metadata.items()])


def _refused(call):
    with pytest.raises(grpc.RpcError) as refusal:
        call()
    return refusal.value


@pytest.mark.parametrize(
    "path",
    ["/", "/metrics", "/v1/models", "/v1/models/shoprank", "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models",
     "/v2/models/shoprank", "/v2/models/shoprank/ready"],
)  # fmt: skip
def test_probes_and_metadata_need_no_key(http, path):
    assert http.get(path).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"authorization": "Basic YTpi"},
                                     {"x-api-key": "shoprank_" + "a" * 43}, {"authorization": "Bearer"}],
                         ids=["none", "wrong", "basic", "unknown", "empty"])  # fmt: skip
@pytest.mark.parametrize("path", [PREDICT, EXPLAIN, INFER, "/v2/repository/models/shoprank/unload", "/v1/events", "/x"])
def test_calls_without_a_valid_key_get_401(http, path, headers):
    answer = http.post(path, json=BODY, headers=headers)
    assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Bearer ")
    assert answer.json()["error"] and answer.json()["fix"]
    assert http.get("/openapi.json", headers=headers).status_code == 401


def test_a_key_in_either_header_opens_what_its_scopes_name(http, shop):
    for headers in (bearer(shop.admin), {"x-api-key": shop.admin}):
        answer = http.post(PREDICT, json=BODY, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.json()["predictions"][0]["items"]
    assert http.post(EXPLAIN, json=BODY, headers=bearer(shop.explainer)).status_code == 200
    assert http.get("/openapi.json", headers=bearer(shop.explainer)).status_code == 200
    answer = http.post(PREDICT, json=BODY, headers=bearer(shop.explainer))
    assert answer.status_code == 403 and "'ask'" in answer.json()["error"]
    assert "'explain'" in http.post(EXPLAIN, json=BODY, headers=bearer(shop.admin)).json()["error"]
    assert "'events'" in http.post("/v1/events", json={}, headers=bearer(shop.explainer)).json()["error"]


@pytest.mark.parametrize("path", ["/v2/repository/models/shoprank/unload", "/v2/repository/models/shoprank/unload%0A",
                                  "//v2/repository/models/shoprank/load", "/v2/repository/models/shoprank/load/",
                                  "/anything", "/v1/models/shoprank%2F..:predict"])  # fmt: skip
def test_what_could_change_something_is_left_to_admins_however_it_is_written(http, shop, path):
    answer = http.post(path, headers=bearer(shop.explainer))
    assert answer.status_code == 403 and "'admin'" in answer.json()["error"]
    assert http.delete(path, headers=bearer(shop.explainer)).status_code == 403


def test_a_path_with_a_version_is_no_server_error(http, shop):
    answer = http.post("/v2/models/shoprank/versions/1/infer", json={"inputs": []}, headers=bearer(shop.admin))
    assert answer.status_code == 404 and "one version" in answer.json()["error"]
    assert http.get("/v2/models/shoprank/versions/1/ready").status_code == 404


def test_grpc_needs_the_same(stub, shop):
    assert stub.ModelReady(pb.ModelReadyRequest(name="shoprank")).ready and stub.ServerLive(pb.ServerLiveRequest()).live
    assert _infer(stub, authorization=f"Bearer {shop.admin}").outputs
    assert _infer(stub, x_api_key=shop.admin).outputs
    assert _refused(lambda: _infer(stub)).code() == grpc.StatusCode.UNAUTHENTICATED
    assert _refused(lambda: _infer(stub, authorization="Bearer x")).code() == grpc.StatusCode.UNAUTHENTICATED
    missing = _refused(lambda: _infer(stub, x_api_key=shop.explainer))
    assert missing.code() == grpc.StatusCode.PERMISSION_DENIED and "'ask'" in missing.details()
    load = pb.RepositoryModelLoadRequest(model_name="shoprank")
    assert _refused(lambda: stub.RepositoryModelLoad(load)).code() == grpc.StatusCode.UNAUTHENTICATED


def test_a_rate_is_limited_over_rest_and_grpc_together(http, stub, shop):
    key = shop.add(http, ["ask"], limits={"per_second": 0.001, "burst": 3})
    assert [http.post(PREDICT, json=BODY, headers=bearer(key)).status_code for _ in range(2)] == [200, 200]
    assert _infer(stub, x_api_key=key).outputs
    answer = http.post(PREDICT, json=BODY, headers=bearer(key))
    assert answer.status_code == 429 and 0 < int(answer.headers["retry-after"]) <= 1000
    exhausted = _refused(lambda: _infer(stub, x_api_key=key))
    assert exhausted.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert int(dict(exhausted.trailing_metadata())["retry-after"]) > 0
    assert http.post(PREDICT, json=BODY, headers=bearer(shop.admin)).status_code == 200


def test_a_daily_quota_ends_and_survives_a_new_version_of_the_file(http, shop):
    key = shop.add(http, ["ask"], limits={"per_day": 2})
    before = time.time() // 86_400
    assert [http.post(PREDICT, json=BODY, headers=bearer(key)).status_code for _ in range(3)][:2] == [200, 200]
    shop.add(http, ["ask"])
    answer = http.post(PREDICT, json=BODY, headers=bearer(key))
    if time.time() // 86_400 == before:
        assert answer.status_code == 429 and 0 < int(answer.headers["retry-after"]) <= 86_400


def test_a_broken_file_is_refused_and_the_one_before_stays(http, shop):
    shop.path.write_text("clients: [{name: x, keys: [shoprank_secretsecret], scopes: [ask]}]")
    assert eventually(lambda: "shoprank_access_refused 1.0" in http.get("/metrics").text)
    assert http.post(PREDICT, json=BODY, headers=bearer(shop.admin)).status_code == 200
    shop.write()
    assert eventually(lambda: "shoprank_access_refused 0.0" in http.get("/metrics").text)


def test_an_expired_key_is_refused(http, shop):
    key = shop.add(http, ["ask"], expires="2020-01-01")
    answer = http.post(PREDICT, json=BODY, headers=bearer(key))
    assert answer.status_code == 401 and "expired" in answer.json()["error"]


def test_metrics_can_need_a_scope(http, shop):
    shop.write(metrics_scope="admin")
    assert eventually(lambda: http.get("/metrics").status_code == 401)
    assert http.get("/metrics", headers=bearer(shop.explainer)).status_code == 403
    assert http.get("/metrics", headers=bearer(shop.admin)).status_code == 200
    shop.write()
    assert eventually(lambda: http.get("/metrics").status_code == 200)


def test_tokens_of_an_issuer_are_accepted_over_rest_and_grpc(http, stub, issuer):
    token = issuer.token("first", scope="openid ask")
    answer = http.post(PREDICT, json=BODY, headers=bearer(token))
    assert answer.status_code == 200, answer.text
    assert _infer(stub, authorization=f"Bearer {token}").outputs
    answer = http.post(EXPLAIN, json=BODY, headers=bearer(token))
    assert answer.status_code == 403 and "'explain'" in answer.json()["error"]
    listed = issuer.token("first", scope=["explain", "admin"])
    assert http.post(EXPLAIN, json=BODY, headers=bearer(listed)).status_code == 200
    # The access file does not let this issuer make admins.
    assert http.post("/v2/repository/models/shoprank/load", headers=bearer(listed)).status_code == 403


@pytest.mark.parametrize(
    "kind", ["expired", "not yet", "no end", "other audience", "other issuer", "no client", "none",
             "public key as secret", "algorithm that is not listed", "changed payload", "garbage"],
)  # fmt: skip
def test_forged_and_stale_tokens_get_401(http, issuer, kind):
    answer = http.post(PREDICT, json=BODY, headers=bearer(forged(issuer, kind)))
    assert answer.status_code == 401 and answer.json()["error"]


def test_new_keys_of_an_issuer_are_fetched_but_not_for_every_unknown_one(http, issuer):
    assert http.post(PREDICT, json=BODY, headers=bearer(issuer.token("first"))).status_code == 200
    issuer.add_key("second")
    token = issuer.token("second")
    assert eventually(lambda: http.post(PREDICT, json=BODY, headers=bearer(token)).status_code == 200)
    before, started = issuer.fetched, time.monotonic()
    for number in range(50):
        unknown = issuer.token("second", headers={"kid": f"unknown {number}"})
        assert http.post(PREDICT, json=BODY, headers=bearer(unknown)).status_code == 401
    # At most one a second, which is `refetch_s` of the file.
    assert issuer.fetched - before <= time.monotonic() - started + 2


def test_admin_calls_are_audited_with_client_and_outcome(http, stub, shop):
    log = AuditLog(FolderDocuments(shop.folder / "audit"))
    before = len(log.entries())
    assert http.post("/v2/repository/models/shoprank/unload", headers=bearer(shop.admin)).status_code == 400
    assert http.post("/v2/repository/models/shoprank/load", headers=bearer(shop.explainer)).status_code == 403
    load = pb.RepositoryModelLoadRequest(model_name="shoprank")
    refused = _refused(lambda: stub.RepositoryModelLoad(load, metadata=[("x-api-key", shop.admin)]))
    assert refused.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert eventually(lambda: len(log.entries()) >= before + 3)
    lines = [(line["action"], line["client"], line["call"], line["outcome"]) for line in log.entries()[before:]]
    assert lines == [
        ("admin", "client 1", "POST /v2/repository/models/{name}/unload", "400"),
        ("admin", "client 2", "POST /v2/repository/models/{name}/load", "403"),
        ("admin", "client 1", "RepositoryModelLoad", "INVALID_ARGUMENT"),
    ]
    assert log.verify() == before + 3


@pytest.mark.parametrize(("scope", "outcome"), [("ask", "same"), ("explain", "error"), ("", "error")])
def test_a_shadow_needs_a_key_too(guarded, shop, engine, scope, outcome):
    def count():
        return REGISTRY.get_sample_value("shoprank_shadow_total", {"outcome": outcome}) or 0

    before, instance = count(), parse_instance({"k": 1})
    key = {"ask": shop.admin, "explain": shop.explainer}.get(scope, "")
    shadow = Shadow(ShadowConfig(url=guarded.url, key=key, timeout_s=60), lambda _: None)
    shadow.send(instance, engine.answer([instance], ["a"])[0])
    # The candidate is the same version, which is told from its answer.
    assert eventually(lambda: count() == before + 1)
    shadow.close()


def test_pages_of_named_origins_alone_may_call(http):
    def asked(origin):
        return http.options(PREDICT, headers={"origin": origin, "access-control-request-method": "POST",
                                              "access-control-request-headers": "authorization"})  # fmt: skip

    allowed = asked("https://shop.example")
    assert allowed.status_code == 200 and allowed.headers["access-control-allow-origin"] == "https://shop.example"
    assert "access-control-allow-origin" not in asked("https://evil.example").headers
    # A page must be able to read why it was refused.
    refused = http.post(PREDICT, json=BODY, headers={"origin": "https://shop.example"})
    assert refused.status_code == 401 and "access-control-allow-origin" in refused.headers


def test_every_answer_has_security_headers(http, guarded):
    answers = [http.get("/v2/health/live"), http.post(PREDICT, json=BODY), http.get("/nothing"),
               httpx.get(f"{guarded.url}/", headers={"x": "a" * 100_000}, trust_env=False)]  # fmt: skip
    assert [answer.status_code for answer in answers] == [200, 401, 401, 431]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-store"
        assert re.search(r"frame-ancestors 'none'", answer.headers["content-security-policy"])
        assert "server" not in answer.headers and "strict-transport-security" not in answer.headers
