"""Bundles in an object store: registered there, deployed from there by KServe's own storage initializer, restricted."""

import json
import shutil
import uuid

import httpx
import pytest

from components.deploy_model.deploy import kserve_target
from components.deploy_model.kserve import KServeBackend
from components.shared.release.config import ReleaseOptions
from components.shared.release.registry import Registry
from tests.cluster.faults import log_fault
from tests.cluster.namespaces import Namespace
from tests.cluster.platform.object_store import ACCESS_KEY, SECRET_KEY

pytestmark = [pytest.mark.filterwarnings("ignore:Unverified HTTPS request"), pytest.mark.slow]


@pytest.fixture
def store(node, monkeypatch):
    """URI of a new bucket in the platform's object store."""
    import boto3

    address = f"http://{node.facts['node']}:{node.facts['ports']['s3']}"
    for name, value in (("AWS_ENDPOINT_URL", address), ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
                        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY), ("AWS_DEFAULT_REGION", "us-east-1")):  # fmt: skip
        monkeypatch.setenv(name, value)
    bucket = f"registry-{uuid.uuid4().hex[:8]}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return f"s3://{bucket}/models"


def secret(keys):
    """The object store's credentials in KServe's annotated form."""
    return {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shoprank-object-store", "annotations": {
            "serving.kserve.io/s3-endpoint": "seaweedfs.kubeflow:9000", "serving.kserve.io/s3-usehttps": "0",
            "serving.kserve.io/s3-verifyssl": "0", "serving.kserve.io/s3-region": "us-east-1"}},
        "stringData": {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": keys},
    }  # fmt: skip


def test_version_in_an_object_store_is_served(store, node, service_names, registered, tmp_path):
    folder, one, two = registered
    registry = Registry(store)
    for version in (one, two):
        assert registry.add(folder / "registry" / "handmade" / "versions" / version) == version
    shutil.copytree(folder, tmp_path / "volume")
    namespace = Namespace(node, tmp_path / "volume", folder / "key.pem.pub", tmp_path / "work")
    try:
        namespace.kubectl("apply", "-f", "-", given=json.dumps(secret(SECRET_KEY)))
        target = kserve_target("handmade", ReleaseOptions(), store)
        backend = KServeBackend(store, target, namespace.connect())
        backend.release("handmade", one)
        assert backend.current("handmade") == one and Registry(store).aliases("handmade")["champion"] == one
        (pod,) = namespace.pods("shoprank-predictor")[:1]
        (initializer,) = pod["spec"]["initContainers"]
        assert initializer["args"][0] == f"{store}/handmade/versions/{one}"
        assert initializer["securityContext"]["runAsNonRoot"] and pod["status"]["phase"] == "Running"
        backend.release("handmade", two)
        url = f"http://shoprank-predictor.{namespace.name}.svc.cluster.local/v2/models/shoprank"
        assert httpx.get(url, trust_env=False).json()["versions"] == [two]
        assert backend.rollback("handmade") == one
        log_fault("none: registry and bundles in S3, restricted namespace", "deployed, replaced, rolled back", 0)
    finally:
        namespace.remove()
