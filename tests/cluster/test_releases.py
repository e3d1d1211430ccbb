"""Direct releases on a real KServe: created, replaced, rolled back, refused; the champion is never harmed."""

import dataclasses
import json
import threading
import time

import httpx
import pytest

from components.deploy_model.deploy import kserve_target, rollback
from components.deploy_model.kserve import KServeBackend
from components.rollout_model.control import rollout_status
from components.shared.cluster.inference_service import ServiceSpec, manifest
from components.shared.cluster.kinds import INFERENCE_SERVICE, LEASE
from components.shared.cluster.standard import StandardTraffic
from components.shared.cluster.traffic import Placement
from components.shared.errors import ClusterError, InputError, RegistryError, ServingError
from components.shared.release.config import ReleaseOptions
from components.shared.tests.waiting import eventually
from tests.cluster.faults import log_fault
from tests.cluster.rollout_shop import Shop, Shoppers
from tests.cluster.shops import signed_by_another

pytestmark = [pytest.mark.filterwarnings("ignore:Unverified HTTPS request"), pytest.mark.slow]


def test_version_is_created_replaced_and_rolled_back_without_a_failed_request(empty_shop, registered):
    shop, (_, one, two) = empty_shop, registered
    assert shop.backend.current("handmade") == ""
    shop.deploy(one)
    first = shop.service()
    assert first["spec"]["predictor"]["model"]["storageUri"].endswith(f"/handmade/versions/{one}")
    assert shop.backend.current("handmade") == one == shop.registry.aliases("handmade")["champion"]
    lines = shop.actions()
    shop.deploy(one)
    assert shop.service()["metadata"]["generation"] == first["metadata"]["generation"] and shop.actions() == lines
    with Shoppers(shop.open()) as shoppers:
        shop.deploy(two)
        assert shop.backend.current("handmade") == two
        assert shop.backend.rollback("handmade") == one == shop.backend.current("handmade")
        with pytest.raises(RegistryError, match="no previous champion"):
            shop.backend.rollback("handmade")
        time.sleep(10)  # Pods of the version before end meanwhile.
    assert shoppers.failed == {} and shoppers.answers[two] > 5
    entries = shop.registry.audit("handmade").entries()
    assert [entry["action"] for entry in entries] == [
        "add", "add", "promote", "deploy", "promote", "deploy", "rollback", "rollback_served",
    ]  # fmt: skip
    log_fault("wrong model live: `shoprank rollback`", "the champion before, golden requests asked again",
              entries[-1]["seconds"])  # fmt: skip
    assert entries[-1]["seconds"] > 0 and entries[-1]["namespace"] == shop.cluster.namespace
    assert shop.cluster.get(LEASE, "shoprank-release")["metadata"]["annotations"] == {"shoprank.example/version": one}


def test_predictor_that_ends_at_its_start_fails_the_release_in_its_own_words(shop, registered):
    foreign, pods, started = signed_by_another(shop.root, registered[2]), shop.champion_pods(), time.monotonic()
    champion = shop.champion
    with pytest.raises(ServingError, match="made with another key") as failure:
        shop.deploy(foreign)
    seconds = time.monotonic() - started
    log_fault(
        "predictor ends at its start (bundle signed by another key)", "its last words in the error; restored", seconds
    )
    assert "it ended with 2" in failure.value.headline and seconds < 30
    assert shop.backend.current("handmade") == champion == shop.registry.aliases("handmade")["champion"]
    assert eventually(lambda: shop.champion_pods() == pods), "the champion's pod is another one"
    failed = shop.registry.audit("handmade").entries()[-1]
    assert (failed["action"], failed["version"], failed["restored"]) == ("deploy_failed", foreign, champion)


def test_a_first_version_that_fails_leaves_no_service(empty_shop, registered):
    foreign = signed_by_another(empty_shop.root, registered[1])
    with pytest.raises(ServingError, match="made with another key"):
        empty_shop.deploy(foreign)
    # Its finalizer takes a moment.
    assert eventually(lambda: empty_shop.cluster.find(INFERENCE_SERVICE, "shoprank") is None)
    assert "champion" not in empty_shop.registry.aliases("handmade")


def test_a_runtime_that_kserve_sees_late_delays_the_release(empty_shop, registered):
    runtime = empty_shop.namespace.kubectl("get", "servingruntime", "shoprank", "-o", "json")
    plain = json.loads(runtime)
    plain["metadata"] = {key: plain["metadata"][key] for key in ("name", "labels") if key in plain["metadata"]}
    empty_shop.namespace.kubectl("delete", "servingruntime", "shoprank")
    again = threading.Timer(4, empty_shop.namespace.kubectl, ["apply", "-f", "-"], {"given": json.dumps(plain)})
    again.start()
    empty_shop.deploy(registered[1])
    again.join()
    assert empty_shop.backend.current("handmade") == registered[1]


def test_pod_that_admission_refuses_fails_the_release_at_once(shop, registered):
    patch = [{"op": "replace", "path": "/spec/containers/0/securityContext/allowPrivilegeEscalation", "value": True}]
    shop.namespace.kubectl("patch", "servingruntime", "shoprank", "--type=json", "-p", json.dumps(patch))
    champion, started = shop.champion, time.monotonic()
    with pytest.raises(ServingError, match='violates PodSecurity "restricted') as failure:
        shop.deploy(registered[2])
    seconds = time.monotonic() - started
    log_fault(
        "pods are refused by Pod Security", "admission's own sentence; the version before is written back", seconds
    )
    assert "allowPrivilegeEscalation" in failure.value.headline and seconds < 15
    assert shop.backend.current("handmade") == champion


def test_missing_key_and_quota_are_named(shop, registered):
    champion = shop.champion
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "one-pod"},
        "spec": {"hard": {"pods": "1"}},
    }
    shop.namespace.kubectl("apply", "-f", "-", given=json.dumps(quota))
    with pytest.raises(ServingError, match="exceeded quota: one-pod"):
        shop.deploy(registered[2])
    shop.namespace.kubectl("delete", "resourcequota", "one-pod")
    shop.namespace.kubectl("delete", "configmap", "shoprank-signing-key")
    impatient = dataclasses.replace(shop.backend.target, ready_s=5)
    with pytest.raises(ServingError, match="shoprank-signing-key"):
        KServeBackend(shop.root, impatient, shop.cluster).release("handmade", registered[2])
    assert shop.backend.current("handmade") == champion


def test_two_services_of_a_namespace_answer_under_their_own_names(shop, registered):
    second = Shop(shop.namespace, "second")
    second.deploy(registered[1])
    url = f"http://second-predictor.{shop.namespace.name}.svc.cluster.local"
    asked = {"instances": [{"user_id": "ann", "k": 2}]}
    with httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
        assert client.post("/v1/models/second:predict", json=asked).status_code == 200
        assert client.post("/v1/models/shoprank:predict", json=asked).status_code == 404
        assert client.get("/v2/models/second").json()["versions"] == [registered[1]]
    assert shop.cluster.find(LEASE, "second-release") and shop.cluster.find(LEASE, "shoprank-release")


def test_a_service_of_another_mode_or_model_is_refused(cluster, registered):
    folder, one, two = registered
    spec = ServiceSpec(model="handmade")
    backend = KServeBackend(folder / "registry", kserve_target("handmade", ReleaseOptions()), cluster)
    cluster.create(INFERENCE_SERVICE, manifest(dataclasses.replace(spec, mode="Knative"), one))
    with pytest.raises(InputError, match="is in mode Knative, not Standard"):
        backend.release("handmade", one)
    cluster.delete(INFERENCE_SERVICE, "shoprank")
    cluster.create(INFERENCE_SERVICE, manifest(ServiceSpec(name="other", model="other"), one))
    target = dataclasses.replace(backend.target, service=dataclasses.replace(spec, name="other"))
    with pytest.raises(InputError, match="serves model 'other', not 'handmade'"):
        KServeBackend(folder / "registry", target, cluster).release("handmade", two)
    foreign = manifest(ServiceSpec(name="foreign", model="other"), one)
    cluster.create(INFERENCE_SERVICE, foreign | {"metadata": {"name": "foreign"}})
    with pytest.raises(InputError, match=r"InferenceService foreign of namespace .* was not made by shoprank"):
        rollout_status(cluster, "foreign")


def test_key_of_an_encrypted_bundle_is_set_for_champion_and_candidate(cluster, registered):
    spec = dataclasses.replace(ServiceSpec(model="handmade"), confidential="kbs:///shop/bundle/key")
    cluster.create(INFERENCE_SERVICE, manifest(spec, registered[1]))
    with pytest.raises(ServingError, match=r"did not serve|cannot serve"):
        StandardTraffic(cluster, Placement(service=spec, ready_s=0.1)).launch(registered[2])
    present = cluster.get(INFERENCE_SERVICE, "shoprank")["spec"]
    key = {"enabled": True, "resourceId": "kbs:///shop/bundle/key"}
    assert present["predictor"]["model"]["confidential"] == key
    assert present["canary"][0]["predictor"]["model"]["confidential"] == key


def test_invalid_release_options_are_refused(tmp_path):
    options = ReleaseOptions(service="s", storage="minio://mlpipeline/registry")
    assert kserve_target("shop", options).service.uri("v1") == "s3://mlpipeline/registry/shop/versions/v1"
    with pytest.raises(InputError, match=r"release.mode is 'Serverless'"):
        ReleaseOptions.read({"mode": "Serverless"}, "release")
    with pytest.raises(InputError, match="storage is '/mnt/registry'"):
        ReleaseOptions.read({"storage": "/mnt/registry"}, "release")
    with pytest.raises(InputError, match="'kserve' without a service"):
        rollback(tmp_path, "shop", "kserve")


def test_quota_on_services_is_reported_and_changes_nothing(empty_shop, registered):
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "no-services"},
             "spec": {"hard": {"count/inferenceservices.serving.kserve.io": "0"}}}  # fmt: skip
    empty_shop.namespace.kubectl("apply", "-f", "-", given=json.dumps(quota))
    time.sleep(1)
    with pytest.raises(ClusterError, match=r"403 .*exceeded quota: no-services"):
        empty_shop.deploy(registered[1])
    assert empty_shop.cluster.find(INFERENCE_SERVICE, "shoprank") is None
    failed = empty_shop.registry.audit("handmade").entries()[-1]
    assert failed["action"] == "deploy_failed" and "exceeded quota" in failed["why"]
