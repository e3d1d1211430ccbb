"""Objects of a real API server with Trainer's webhooks: conflicts, errors, watches, and a server that is down."""

import dataclasses
import threading
import time

import pytest

from components.shared.cluster.api import RetryPolicy, connect
from components.shared.cluster.kinds import CLUSTER_TRAINING_RUNTIME, INFERENCE_SERVICE, TRAIN_JOB, Kind
from components.shared.errors import ChangedObject, ClusterError, InputError, MissingObject
from tests.cluster.faults import log_fault
from tests.cluster.jobs import job, labels_seen


def test_object_is_created_read_patched_and_deleted(cluster):
    assert cluster.find(TRAIN_JOB, "one") is None
    created = cluster.create(TRAIN_JOB, job())
    assert created["metadata"]["uid"] and created["metadata"]["namespace"] == cluster.namespace
    assert cluster.get(TRAIN_JOB, "one") == created
    assert [one["metadata"]["name"] for one in cluster.list(TRAIN_JOB, "team=search")] == ["one"]
    assert cluster.list(TRAIN_JOB, "team=other") == []
    changed = cluster.patch(TRAIN_JOB, "one", {"spec": {"suspend": True}, "metadata": {"labels": {"team": None}}})
    assert changed["spec"]["suspend"] and "labels" not in changed["metadata"]
    assert changed["spec"]["trainer"] == {"numNodes": 1}
    assert cluster.delete(TRAIN_JOB, "one") and not cluster.delete(TRAIN_JOB, "one")
    with pytest.raises(MissingObject, match="get TrainJob one: not found"):
        cluster.get(TRAIN_JOB, "one")


def test_errors_name_their_cause(cluster):
    cluster.create(TRAIN_JOB, job())
    with pytest.raises(ChangedObject, match="already exists"):
        cluster.create(TRAIN_JOB, job())
    with pytest.raises(ClusterError, match=r"422 .*spec\.activeDeadlineSeconds") as refusal:
        cluster.create(TRAIN_JOB, job("two", activeDeadlineSeconds=0))
    assert "match the schema of TrainJob" in refusal.value.fix
    with pytest.raises(ClusterError, match=r"create TrainJob two: 400 .*numNodes") as refusal:
        cluster.create(TRAIN_JOB, job("two", "many"))
    with pytest.raises(ClusterError, match=r"403 .*denied the request: .*\"nobody\" not found") as refusal:
        cluster.create(TRAIN_JOB, job("two", runtimeRef={"name": "nobody"}))
    assert refusal.value.fix == "fix the problem reported by the webhook"
    unknown = Kind("serving.kserve.io", "v1beta1", "moons", "Moon", "the moon")
    with pytest.raises(MissingObject, match=r"does not know moons\.serving\.kserve\.io") as refusal:
        cluster.find(unknown, "full")
    assert refusal.value.fix == "install the moon"


def test_find_of_a_cluster_scoped_kind(cluster):
    assert cluster.find(CLUSTER_TRAINING_RUNTIME, "nobody-made-this") is None


def test_update_retries_after_conflicting_writes(cluster):
    cluster.create(TRAIN_JOB, job())
    rivals = iter(range(3))

    def change(present):
        for rival in rivals:
            cluster.patch(TRAIN_JOB, "one", {"metadata": {"annotations": {"rival": str(rival)}}})
            break
        return {"metadata": {"annotations": {"seen": present["metadata"].get("annotations", {}).get("rival", "")}}}

    updated = cluster.update(TRAIN_JOB, "one", change)
    assert updated["metadata"]["annotations"] == {"rival": "2", "seen": "2"}
    assert cluster.update(TRAIN_JOB, "one", lambda _: None) == updated

    def always_conflicting(_):
        cluster.patch(TRAIN_JOB, "one", {"metadata": {"annotations": {"at": str(time.monotonic())}}})
        return {"metadata": {"annotations": {"mine": "1"}}}

    with pytest.raises(ChangedObject, match="in each of 3 attempts"):
        cluster.update(TRAIN_JOB, "one", always_conflicting, attempts=3)


def test_follow_reports_changes_and_ends_at_its_timeout(cluster):
    cluster.create(TRAIN_JOB, job())
    patch = {"metadata": {"labels": {"step": "2"}}}
    timer = threading.Timer(0.5, cluster.patch, (TRAIN_JOB, "one", patch))
    timer.start()
    started = time.monotonic()
    assert labels_seen(cluster, 20, "2")
    assert time.monotonic() - started < 5
    timer.join()
    assert not labels_seen(cluster, 1.5, "3")
    cluster.delete(TRAIN_JOB, "one")
    with pytest.raises(MissingObject):
        labels_seen(cluster, 5, "3")


def test_client_waits_for_a_server_that_is_down_for_twenty_seconds(api_server):
    cluster = api_server.connect(RetryPolicy())
    cluster.create(TRAIN_JOB, job())
    followed = []
    watcher = threading.Thread(target=lambda: followed.append(labels_seen(cluster, 60, "back")))
    watcher.start()
    time.sleep(0.5)
    api_server.restart(away_s=20)
    back = time.monotonic()
    cluster.patch(TRAIN_JOB, "one", {"metadata": {"labels": {"step": "back"}}})
    log_fault("API server away for 20 s", "writes and watches waited and went on", time.monotonic() - back)
    watcher.join(60)
    assert followed == [True]


def test_client_waits_for_a_server_that_hangs(api_server):
    cluster = api_server.connect()
    cluster.create(TRAIN_JOB, job())
    api_server.pause()
    timer = threading.Timer(3, api_server.go_on)
    timer.start()
    started = time.monotonic()
    assert cluster.get(TRAIN_JOB, "one")["metadata"]["name"] == "one"
    assert time.monotonic() - started > 2
    timer.join()


def test_unreachable_server_raises_cluster_error(api_server):
    cluster = api_server.connect(RetryPolicy(connects=1))
    cluster.client.configuration.host = "https://127.0.0.1:9"
    with pytest.raises(ClusterError, match="is unreachable"):
        cluster.get(TRAIN_JOB, "one")


def test_connect_without_a_cluster_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(InputError, match="no Kubernetes cluster found"):
        connect()


def test_kinds_have_the_api_versions_of_the_server(cluster):
    for kind in (INFERENCE_SERVICE, TRAIN_JOB, CLUSTER_TRAINING_RUNTIME):
        assert cluster.list(kind) == [] or not kind.namespaced
        with pytest.raises(MissingObject):
            cluster.list(dataclasses.replace(kind, version="v0"))
