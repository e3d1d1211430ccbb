"""Releases through KServe's API: a real API server, real predictors, and a test controller that simulates KServe."""

import dataclasses
import shutil
import threading
import time
from pathlib import Path

import pytest

from components.deploy_model.deploy import kserve_target, rollback
from components.deploy_model.kserve import KServeBackend, KServeTarget
from components.shared.cluster.inference_service import ServiceSpec, manifest
from components.shared.cluster.kinds import INFERENCE_SERVICE
from components.shared.cluster.traffic import Placement, StandardTraffic
from components.shared.errors import ClusterError, InputError, RegistryError, ServingError
from components.shared.release.config import ReleaseOptions
from components.shared.release.registry import Registry
from tests.cluster.faults import log_fault
from tests.cluster.kserve_controller import Controller
from tests.cluster.refusals import DENIED, QUOTA, in_front_of, webhook_away
from tests.cluster.shelves import two_versions

pytestmark = [
    pytest.mark.filterwarnings("ignore:Unverified HTTPS request"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def registered_versions(tmp_path_factory):
    """(registry folder, first version, second version); copy it before writing."""
    return two_versions(tmp_path_factory.mktemp("shelves"))


class Shop:
    """One registry, one namespace, one backend."""

    def __init__(self, root, cluster, versions):
        self.registry, self.cluster = Registry(root), cluster
        self.one, self.two = versions
        self.spec = ServiceSpec(model="handmade")
        self.backend = KServeBackend(root, KServeTarget(service=self.spec, ready_s=25, settle_s=10), cluster)

    def bundle_of(self, uri):
        return self.registry.resolve(f"handmade/{Path(uri).name}")

    def service(self):
        return self.cluster.get(INFERENCE_SERVICE, "shoprank")

    def actions(self):
        return [entry["action"] for entry in self.registry.audit("handmade").entries()]


@pytest.fixture
def shop(registered_versions, cluster, tmp_path):
    shutil.copytree(registered_versions[0], tmp_path / "registry")
    return Shop(tmp_path / "registry", cluster, registered_versions[1:])


def test_version_is_created_replaced_and_rolled_back(shop):
    with Controller(shop.cluster, shop.bundle_of):
        assert shop.backend.current("handmade") == ""
        shop.backend.release("handmade", shop.one)
        first = shop.service()
        assert first["spec"]["predictor"]["model"]["storageUri"].endswith(f"/handmade/versions/{shop.one}")
        assert shop.backend.current("handmade") == shop.one == shop.registry.aliases("handmade")["champion"]

        before, lines = first["metadata"]["generation"], shop.actions()
        shop.backend.release("handmade", shop.one)
        assert shop.service()["metadata"]["generation"] == before and shop.actions() == lines

        shop.backend.release("handmade", shop.two)
        assert shop.backend.current("handmade") == shop.two
        assert shop.backend.rollback("handmade") == shop.one == shop.backend.current("handmade")
        with pytest.raises(RegistryError, match="no previous champion"):
            shop.backend.rollback("handmade")
    entries = shop.registry.audit("handmade").entries()
    assert [entry["action"] for entry in entries] == [
        "add", "add", "promote", "deploy", "promote", "deploy", "rollback", "rollback_served",
    ]  # fmt: skip
    log_fault(
        "wrong model live: `shoprank rollback`",
        "the champion before, golden requests asked again",
        entries[-1]["seconds"],
    )
    assert entries[-1]["seconds"] > 0 and entries[-1]["namespace"] == shop.cluster.namespace
    assert shop.registry.audit("handmade").verify() == 8


def test_version_that_does_not_get_ready_restores_the_previous_one(shop):
    with Controller(shop.cluster, shop.bundle_of) as kserve:
        shop.backend.release("handmade", shop.one)
        kserve.never_ready.add(shop.two)
        impatient, started = dataclasses.replace(shop.backend.target, ready_s=3), time.monotonic()
        with pytest.raises(ServingError, match=r"not ready within \d+ s: Ready is False \(MinimumReplicas"):
            KServeBackend(shop.backend.registry, impatient, shop.cluster).release("handmade", shop.two)
        assert shop.backend.current("handmade") == shop.one == shop.registry.aliases("handmade")["champion"]
        failed = shop.registry.audit("handmade").entries()[-1]
        happened = "the version before was restored after the 3 s that the new one was given"
        log_fault("version never Ready", happened, time.monotonic() - started)
        assert failed["action"] == "deploy_failed"
        kserve.never_ready.clear()
        kserve.fails_to_load.add(shop.two)
        with pytest.raises(ServingError, match="failed to load: ModelLoadFailed: bundle is not signed"):
            shop.backend.release("handmade", shop.two)
    failed = [entry for entry in shop.registry.audit("handmade").entries() if entry["action"] == "deploy_failed"]
    assert [(entry["version"], entry["restored"]) for entry in failed] == [(shop.two, shop.one)] * 2


def test_a_first_version_that_fails_leaves_no_service(shop):
    with Controller(shop.cluster, shop.bundle_of) as kserve:
        kserve.fails_to_load.add(shop.one)
        with pytest.raises(ServingError, match="failed to load"):
            shop.backend.release("handmade", shop.one)
        assert shop.cluster.find(INFERENCE_SERVICE, "shoprank") is None
    assert "champion" not in shop.registry.aliases("handmade")


def test_crash_after_ready_fails_the_release(shop):
    with Controller(shop.cluster, shop.bundle_of) as kserve:
        kserve.crashes.add(shop.one)
        with pytest.raises(ServingError):
            shop.backend.release("handmade", shop.one)


def test_another_version_behind_the_url_fails_the_release(shop):
    """The status says Ready, but the pods of the version before still answer."""
    with Controller(shop.cluster, lambda uri: shop.registry.resolve(f"handmade/{shop.one}")):
        target = dataclasses.replace(shop.backend.target, settle_s=2)
        shop.backend.release("handmade", shop.one)
        with pytest.raises(ServingError, match=f"served by version {shop.one}, not {shop.two}"):
            KServeBackend(shop.backend.registry, target, shop.cluster).release("handmade", shop.two)


def test_release_survives_conflicts_and_a_restart_of_the_api_server(shop, api_server):
    from components.shared.cluster.api import RetryPolicy

    patient = api_server.connect(RetryPolicy())
    patient.namespace = shop.cluster.namespace
    backend = KServeBackend(shop.backend.registry, shop.backend.target, patient)
    with Controller(patient, shop.bundle_of):
        backend.release("handmade", shop.one)
        over = threading.Event()

        def rival():
            while not over.wait(0.05):
                note = {"metadata": {"annotations": {"rival": str(id(object()))}}}
                patient.patch(INFERENCE_SERVICE, "shoprank", note)

        writer = threading.Thread(target=rival)
        writer.start()
        away = threading.Timer(0.3, api_server.restart, (5,))
        away.start()
        try:
            backend.release("handmade", shop.two)
        finally:
            over.set()
            writer.join()
            away.join()
        assert backend.current("handmade") == shop.two


def test_a_service_of_another_mode_or_model_is_refused(shop):
    shop.cluster.create(INFERENCE_SERVICE, manifest(dataclasses.replace(shop.spec, mode="Knative"), shop.one))
    with pytest.raises(InputError, match="is in mode Knative, not Standard"):
        shop.backend.release("handmade", shop.one)
    shop.cluster.delete(INFERENCE_SERVICE, "shoprank")
    shop.cluster.create(INFERENCE_SERVICE, manifest(ServiceSpec(model="other"), shop.one))
    with pytest.raises(InputError, match="serves model 'other', not 'handmade'"):
        shop.backend.release("handmade", shop.two)


def test_key_of_an_encrypted_bundle_is_set_for_champion_and_candidate(shop):
    spec = dataclasses.replace(shop.spec, confidential="kbs:///shop/bundle/key")
    shop.cluster.create(INFERENCE_SERVICE, manifest(spec, shop.one))
    traffic = StandardTraffic(shop.cluster, Placement(service=spec, ready_s=0.1))
    with pytest.raises(ServingError, match="was not ready"):
        traffic.launch(shop.two)
    stable, canary = shop.service()["spec"]["predictor"], shop.service()["spec"]["canary"][0]["predictor"]
    key = {"enabled": True, "resourceId": "kbs:///shop/bundle/key"}
    assert stable["model"]["confidential"] == canary["model"]["confidential"] == key


def test_invalid_release_options_are_refused(tmp_path):
    options = ReleaseOptions(service="s", storage="minio://mlpipeline/registry")
    assert kserve_target("shop", options).service.uri("v1") == "s3://mlpipeline/registry/shop/versions/v1"
    with pytest.raises(InputError, match=r"release.mode is 'Serverless'"):
        ReleaseOptions.read({"mode": "Serverless"}, "release")
    with pytest.raises(InputError, match="storage is '/mnt/registry'"):
        ReleaseOptions.read({"storage": "/mnt/registry"}, "release")
    with pytest.raises(InputError, match="'kserve' without a service"):
        rollback(tmp_path, "shop", "kserve")


def test_quota_and_webhook_errors_are_reported_and_change_nothing(shop, api_server):
    with in_front_of(api_server) as (cluster, front), Controller(cluster, shop.bundle_of):
        backend = KServeBackend(shop.backend.registry, shop.backend.target, cluster)
        front.refusals = {"POST": QUOTA}
        started = time.monotonic()
        with pytest.raises(ClusterError, match=r"403 .*exceeded quota"):
            backend.release("handmade", shop.one)
        log_fault("quota exceeded on deploy", "nothing was made; the step fails with the quota's name",
             time.monotonic() - started)  # fmt: skip
        assert cluster.find(INFERENCE_SERVICE, "shoprank") is None
        front.refusals = {"POST": webhook_away(times=3)}
        started = time.monotonic()
        backend.release("handmade", shop.one)
        log_fault("KServe's webhook away for three answers", "asked again, then deployed", time.monotonic() - started)
        front.refusals = {"PATCH": DENIED}
        with pytest.raises(ClusterError, match="400 admission webhook"):
            backend.release("handmade", shop.two)
        front.refusals = {}
        assert backend.current("handmade") == shop.one == shop.registry.aliases("handmade")["champion"]
    failed = [entry for entry in shop.registry.audit("handmade").entries() if entry["action"] == "deploy_failed"]
    assert [(entry["version"], entry["restored"]) for entry in failed] == [(shop.one, ""), (shop.two, shop.one)]
    assert "exceeded quota" in failed[0]["why"]
