"""A predictor that is being ended answers and asks clients to connect anew."""

import httpx

from components.validate_serving.predictor import PredictorConfig, running
from serving.tests.handmade import write_bundle


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
