"""A predictor that is being ended answers and asks clients to connect anew."""

import http.client
import json
import time
from urllib.parse import urlsplit

import httpx

from components.shared.release.bundle import BundleFacts, sign, write_manifest
from components.shared.release.signing import load_or_create_key
from components.validate_serving.predictor import PredictorConfig, running
from serving.tests.handmade import AS_OF, write_bundle, write_compiled, write_golden
from tests.cluster.bad_candidates import WHO_BOUGHT_NEW, older_vocabulary


def test_connections_are_closed_after_answers_while_the_file_exists(tmp_path):
    bundle, flag = write_bundle(tmp_path / "bundle", tmp_path / "key.pem"), tmp_path / "draining"
    with (
        running(bundle, PredictorConfig(further=("--drain_file", str(flag)))) as predictor,
        httpx.Client(base_url=predictor.url, trust_env=False, timeout=30) as client,
    ):
        path, asked = "/v1/models/shoprank:predict", {"instances": [{"k": 1}]}
        assert "connection" not in client.post(path, json=asked).headers
        flag.touch()
        answer = client.post(path, json=asked)
        assert answer.status_code == 200 and answer.headers["connection"] == "close"
        assert client.get("/v2/models/shoprank/ready").headers["connection"] == "close"
        flag.unlink()
        assert "connection" not in client.post(path, json=asked).headers


def test_metadata_names_the_served_version(tmp_path):
    bundle = write_bundle(tmp_path / "bundle", tmp_path / "key.pem")
    with (
        running(bundle, PredictorConfig()) as predictor,
        httpx.Client(base_url=predictor.url, trust_env=False, timeout=30) as client,
    ):
        answer = client.post("/v1/models/shoprank:predict", json={"instances": [{"k": 1}]}).json()
        versions = client.get("/v2/models/shoprank").json()["versions"]
    assert versions == [answer["predictions"][0]["model_version"]]


def test_an_error_leaves_the_connection_to_the_next_request(tmp_path):
    bundle = tmp_path / "bundle"
    write_compiled(bundle)
    older_vocabulary(bundle)
    write_golden(bundle)
    facts = BundleFacts(name="handmade", as_of=AS_OF, schema_hash="x", tasks=("purchase_again", "purchase_first"))
    write_manifest(bundle, facts)
    sign(bundle, load_or_create_key(tmp_path / "key.pem"))
    with running(bundle, PredictorConfig()) as predictor:
        address = urlsplit(predictor.url)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
        connection.connect()
        connection.auto_open = 0  # What a closed connection would be replaced by.
        for request, status in ((WHO_BOUGHT_NEW, 500), ({"k": 1}, 200), (WHO_BOUGHT_NEW, 500), (WHO_BOUGHT_NEW, 500)):
            connection.request("POST", "/v1/models/shoprank:predict", json.dumps({"instances": [request]}))
            answer = connection.getresponse()
            assert answer.status == status and ("error" in json.loads(answer.read())) == (status == 500)
            time.sleep(0.1)
        connection.close()
