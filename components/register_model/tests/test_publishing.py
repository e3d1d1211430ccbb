"""Publishing: an OCI layout, and Kubeflow's Model Registry through its own client against a server of its REST API."""

import itertools
import socket
import threading
import time

import pytest
import uvicorn
from fastapi import FastAPI, HTTPException, Request

from components.register_model.publishing import KubeflowModelRegistry, publisher_at
from components.shared.errors import InputError, RegistryError
from components.shared.release.bundle import BundleFacts, sign, verify, write_manifest
from components.shared.release.oci_layout import read_layout
from components.shared.release.signing import load_or_create_key

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "model.bin").write_text("weights")
    facts = BundleFacts(name="shop", as_of=1_700_000_000, schema_hash="x", metrics={"ndcg": 0.4}, lineage={"run": "r1"})
    write_manifest(folder, facts)
    sign(folder, load_or_create_key(tmp_path / "key.pem"))
    return folder


class Server:
    """The part of the registry's REST API that its client uses to register; refuses duplicates as the real one does."""

    def __init__(self):
        self.stored = {"registered_model": [], "model_version": [], "artifact": []}
        self.fail_artifacts = False
        numbers, base, app = itertools.count(1), "/api/model_registry/v1", FastAPI()

        def store(kind, body):
            if any(one["name"] == body["name"] and one.get("registeredModelId") == body.get("registeredModelId")
                   and kind != "artifact" for one in self.stored[kind]):  # fmt: skip
                raise HTTPException(409, "exists")
            self.stored[kind].append({**body, "id": str(next(numbers))})
            return self.stored[kind][-1]

        def find(kind, **wanted):
            for one in self.stored[kind]:
                if all(one.get(key) == value for key, value in wanted.items()):
                    return one
            raise HTTPException(404, "none")

        @app.get(f"{base}/registered_models")
        def models():
            items = self.stored["registered_model"]
            return {"items": items, "size": len(items), "pageSize": 100, "nextPageToken": ""}

        @app.get(f"{base}/registered_model")
        def find_model(name: str):
            return find("registered_model", name=name)

        @app.post(f"{base}/registered_models", status_code=201)
        async def make_model(request: Request):
            return store("registered_model", await request.json())

        @app.get(f"{base}/model_version")
        def find_version(name: str, parentResourceId: str):
            return find("model_version", name=name, registeredModelId=parentResourceId)

        @app.post(f"{base}/model_versions", status_code=201)
        async def make_version(request: Request):
            return store("model_version", await request.json())

        @app.get(f"{base}/model_artifact")
        def find_artifact(name: str, parentResourceId: str):
            return find("artifact", name=name, version=parentResourceId)

        @app.post(f"{base}/model_versions/{{version}}/artifacts", status_code=201)
        async def make_artifact(version: str, request: Request):
            if self.fail_artifacts:
                raise HTTPException(400, "refused")
            return store("artifact", {**await request.json(), "version": version})

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._server = uvicorn.Server(uvicorn.Config(app, port=self.port, log_level="error"))
        self._thread = threading.Thread(target=self._server.run)

    def __enter__(self):
        self._thread.start()
        while not self._server.started:
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self._server.should_exit = True
        self._thread.join()


def test_version_is_registered_once_with_its_uri_and_properties(bundle):
    manifest = verify(bundle, None)
    with Server() as server:
        publisher = publisher_at(f"model-registry:http://127.0.0.1:{server.port}", "pvc://shoprank-registry/registry")
        assert publisher.publish(bundle) == f"shop/{manifest.version}"
        before = {kind: list(found) for kind, found in server.stored.items()}
        assert publisher.publish(bundle) == f"shop/{manifest.version}" and server.stored == before
    (version,), (artifact,) = server.stored["model_version"], server.stored["artifact"]
    assert artifact["uri"] == f"pvc://shoprank-registry/registry/shop/versions/{manifest.version}"
    assert (artifact["modelFormatName"], artifact["modelFormatVersion"]) == ("shoprank", "1")
    properties = version["customProperties"]
    assert (
        properties["content_sha256"]["string_value"] == manifest.content and properties["run"]["string_value"] == "r1"
    )
    assert properties["ndcg"]["double_value"] == 0.4


def test_partial_registration_and_an_unreachable_registry_are_reported(bundle):
    with Server() as server:
        publisher = KubeflowModelRegistry(f"http://127.0.0.1:{server.port}", "s3://bucket/registry")
        server.fail_artifacts = True
        with pytest.raises(RegistryError, match=r"the model registry at .*400"):
            publisher.publish(bundle)
        with pytest.raises(RegistryError, match="without an artifact"):
            publisher.publish(bundle)
    with pytest.raises(RegistryError, match=r"the model registry at http://127\.0\.0\.1:9"):
        KubeflowModelRegistry("http://127.0.0.1:9", "s3://bucket/registry").publish(bundle)


def test_version_is_published_as_an_oci_layout(bundle, tmp_path):
    publisher = publisher_at(f"oci:{tmp_path}/images", "")
    assert publisher.publish(bundle) == publisher.publish(bundle)
    version = verify(bundle, None).version
    assert read_layout(tmp_path / "images" / "shop" / version, tmp_path / "back").version == version


def test_publish_target_is_optional_and_validated(tmp_path):
    assert publisher_at("", "") is None
    for target in ("oci:", "model-registry:server", "harbor:x"):
        with pytest.raises(InputError, match="parameter 'publish' is"):
            publisher_at(target, "")
