"""The life of a TrainJob on the real Trainer and JobSet: retries, failures, cancellation, limits, refusals."""

import dataclasses
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from components.shared.cluster.kinds import TRAIN_JOB
from components.shared.cluster.train_job import RUNTIME, train_job
from components.shared.errors import ClusterError, InputError, MissingObject, TrainingError
from components.shared.tests.waiting import eventually
from tests.cluster.faults import log_fault
from tests.cluster.platform.client import Platform
from tests.cluster.platform.layout import CHECKOUT
from tests.cluster.scripted_worker import WORD
from tests.cluster.training_step import Scene, Volume, settings

pytestmark = pytest.mark.slow

ABSENT, GPU = "nvidia.com/mig-1g.5gb", "nvidia.com/gpu"
"""A resource that the platform never has, and one that a test gives it."""


@pytest.fixture
def volume(node: Platform, cluster, tmp_path) -> Iterator[Volume]:
    found = Volume(node, cluster, tmp_path)
    yield found
    found.close()


@pytest.fixture
def scene(volume: Volume) -> Scene:
    return Scene(volume)


@pytest.fixture
def one_attempt(node: Platform, training_runtime, monkeypatch) -> None:
    """TrainJobs whose nodes are not restarted."""
    path = CHECKOUT / "manifests/cluster/cluster-training-runtime.yaml"
    runtime = yaml.safe_load(path.read_text())
    runtime["metadata"]["name"] = f"{RUNTIME}-once"
    runtime["spec"]["template"]["spec"]["failurePolicy"]["maxRestarts"] = 0
    node.kubectl("apply", "--server-side", "-f", "-", given=json.dumps(runtime))
    monkeypatch.setattr("components.shared.cluster.train_job.RUNTIME", f"{RUNTIME}-once")


def test_finished_job_hands_over_its_results_and_is_removed(scene, capfd):
    player = scene.play(lambda: scene.tell("complete"))
    umask = os.umask(0o077)
    try:
        scene.launch()
    finally:
        os.umask(umask)
    player.join()
    assert (scene.folder / "work/curve.json").read_text() == "[]\n"
    printed = capfd.readouterr().out
    for rank in (0, 1):
        assert f"[node {rank}] rank {rank} of 2 reads rows" in printed
    assert eventually(lambda: scene.cluster.find(TRAIN_JOB, scene.name) is None)
    assert not list((scene.folder / "exchange/train_retriever").iterdir()), "what is taken back is cleared away"
    assert eventually(lambda: scene.volume.pods(scene.name) == [])


def test_a_retried_step_finds_its_train_job_again_and_a_lost_step_ends_it(scene, monkeypatch):
    uids = [scene.volume.step("step-1"), scene.volume.step("step-2")]
    monkeypatch.setenv("KFP_POD_NAME", "step-1")
    monkeypatch.setenv("KFP_POD_UID", uids[0])
    scene.play(lambda: os.kill(os.getpid(), signal.SIGUSR1), runs=False)

    def die(*_):
        raise RuntimeError("the step's pod died")

    before = signal.signal(signal.SIGUSR1, die)
    with pytest.raises(RuntimeError):
        scene.launch()
    first = scene.cluster.get(TRAIN_JOB, scene.name)
    assert first["metadata"]["ownerReferences"][0]["name"] == "step-1"
    assert first["metadata"]["labels"]["app.kubernetes.io/part-of"] == "shoprank"
    monkeypatch.setenv("KFP_POD_NAME", "step-2")
    monkeypatch.setenv("KFP_POD_UID", uids[1])
    scene.play(lambda: os.kill(os.getpid(), signal.SIGUSR1))
    with pytest.raises(RuntimeError):
        scene.launch()
    signal.signal(signal.SIGUSR1, before)
    second = scene.cluster.get(TRAIN_JOB, scene.name)
    assert second["metadata"]["uid"] == first["metadata"]["uid"]
    assert [owner["uid"] for owner in second["metadata"]["ownerReferences"]] == [uids[1]]
    started = time.monotonic()
    scene.volume.node.kubectl("-n", scene.cluster.namespace, "delete", "pod", "step-2", "--wait=false")
    assert eventually(lambda: scene.cluster.find(TRAIN_JOB, scene.name) is None)
    assert eventually(lambda: scene.volume.pods(scene.name) == [])
    log_fault("pod of a waiting step deleted", "its TrainJob and pods were removed", time.monotonic() - started)


def test_train_job_that_failed_or_lost_its_results_is_recreated(scene, one_attempt):
    uids = []

    def tell_next(word: str) -> threading.Thread:
        """Give the word to the nodes of the next TrainJob."""

        def act() -> None:
            assert eventually(lambda: scene.uid() not in ("", *uids) and scene.running(), 120)
            uids.append(scene.uid())
            scene.tell(word)

        return scene.play(act, runs=False)

    player = tell_next("the loss is nan")
    with pytest.raises(TrainingError, match="the loss is nan") as failure:
        scene.launch()
    player.join()
    assert failure.value.fix == "lower the learning rate", "the worker's own error, with its fix"
    (scene.run_folder / WORD).unlink()
    player = tell_next("vanish")
    with pytest.raises(InputError, match=r"curve\.json"):
        scene.launch()
    player.join()
    (scene.run_folder / WORD).unlink()
    player = tell_next("complete")
    scene.launch()
    player.join()
    assert len(set(uids)) == 3 and (scene.folder / "work/curve.json").exists()


def test_cancelled_run_deletes_its_train_job(scene):
    before = signal.getsignal(signal.SIGTERM)
    scene.play(lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit) as ended:
        scene.launch()
    assert ended.value.code == 128 + signal.SIGTERM
    assert not scene.uid()
    assert signal.getsignal(signal.SIGTERM) == before
    assert eventually(lambda: scene.volume.pods(scene.name) == [])


def test_run_survives_an_api_server_that_is_away_and_then_hangs(scene, api_server):
    def act() -> None:
        api_server.restart(away_s=20)
        threading.Timer(5, api_server.go_on).start()
        api_server.pause()
        scene.tell("complete")

    player = scene.play(act)
    started = time.monotonic()
    scene.launch()
    player.join()
    assert (scene.folder / "work/curve.json").exists()
    log_fault("API server away for 20 s in a training", "the step went on", time.monotonic() - started - 20)


@pytest.mark.parametrize(("word", "run_s", "headline", "fix"), [
        ("memory", 600, r"scripted_worker failed with exit code -9: .*\(TrainJob .*: jobset failed", "out of memory"),
        ("", 20, "ran longer than 20 s", "last checkpoint"),
    ], ids=["memory", "deadline"])  # fmt: skip
def test_error_of_a_failed_train_job_names_its_cause(scene, one_attempt, word, run_s, headline, fix):
    scene.play(lambda: word and scene.tell(word))
    with pytest.raises(TrainingError, match=headline) as failure:
        scene.launch(run_s=run_s)
    assert fix in failure.value.fix


def test_train_job_that_fits_on_no_node_is_ended_with_the_schedulers_reason(scene):
    config = scene.volume.settings(gpus={ABSENT: "1"})
    with pytest.raises(TrainingError, match=rf"^0 of 2 nodes .* after 5 s: .*fits on no node: .*Insufficient {ABSENT}"):
        scene.launch(config, start_s=5)
    assert not scene.uid()


def test_start_limit_counts_the_node_that_does_not_run_beside_one_that_does(scene, gpus):
    gpus("1")
    with pytest.raises(TrainingError, match=rf"^1 of 2 nodes .* after 20 s: .*-node-0-1-\w+ fits on no node: .*{GPU}"):
        scene.launch(scene.volume.settings(gpus={GPU: "1"}), start_s=20)


def test_job_that_waits_for_gpus_starts_when_nodes_have_them(scene, gpus):
    waited = []

    def provide() -> None:
        waited.append(eventually(lambda: len(scene.volume.pods(scene.name)) == 2) and scene.running())
        gpus("2")
        assert eventually(scene.running, 120)
        scene.tell("complete")

    player = scene.play(provide, runs=False)
    scene.launch(scene.volume.settings(gpus={GPU: "1"}))
    player.join()
    assert waited == [False] and (scene.folder / "work/curve.json").exists()


@pytest.fixture
def gpus(node: Platform):
    """Function that gives the node a number of GPUs, which are none, until the end of the test."""

    def patch(*operations: dict) -> None:
        node.kubectl("patch", "node", "node", "--subresource=status", "--type=json", "-p", json.dumps(operations))

    def allocatable() -> str:
        return json.loads(node.kubectl("get", "node", "node", "-o", "json"))["status"]["allocatable"].get(GPU, "0")

    def give(count: str) -> None:
        patch({"op": "add", "path": f"/status/capacity/{GPU.replace('/', '~1')}", "value": count})
        # The kubelet copies it with its next status.
        assert eventually(lambda: allocatable() == count, 60)

    yield give
    for part in ("capacity", "allocatable"):
        patch({"op": "add", "path": f"/status/{part}/{GPU.replace('/', '~1')}", "value": "0"},
              {"op": "remove", "path": f"/status/{part}/{GPU.replace('/', '~1')}"})  # fmt: skip


def test_reason_is_told_when_pods_cannot_be_created(scene):
    scene.volume.node.kubectl("-n", scene.cluster.namespace, "create", "quota", "none", "--hard=pods=0")
    with pytest.raises(TrainingError, match=r"^0 of 2 nodes .*FailedCreate: .*exceeded quota: none"):
        scene.launch(start_s=10)


def test_deleted_train_job_is_reported(scene):
    scene.play(lambda: scene.cluster.delete(TRAIN_JOB, scene.name))
    with pytest.raises(TrainingError, match="was deleted while it ran"):
        scene.launch()


def test_train_job_of_another_owner_is_not_touched(scene):
    body = train_job(scene.task, scene.volume.settings(), scene.name, "/job.json", 60)
    body["spec"]["suspend"] = True
    scene.cluster.create(TRAIN_JOB, {**body, "metadata": {"name": scene.name, "labels": {"team": "other"}}})
    with pytest.raises(ClusterError, match="was not created by shoprank"):
        scene.launch()


def test_error_for_a_rejected_train_job_names_the_field(scene):
    config = scene.volume.settings().model_copy(update={"processes": "many"})  # beyond what the options let through
    with pytest.raises(ClusterError, match=r"400 .*numProcPerNode"):
        scene.launch(config)


def test_missing_training_runtime_is_reported_at_once(scene, monkeypatch):
    monkeypatch.setattr("components.shared.cluster.train_job.RUNTIME", "nobody-made-this")
    with pytest.raises(ClusterError, match=r'"nobody-made-this" not found'):
        scene.launch()


def test_cluster_without_trainer_is_reported(scene, monkeypatch):
    absent = dataclasses.replace(TRAIN_JOB, version="v9")
    monkeypatch.setattr("components.shared.cluster.train_launcher.TRAIN_JOB", absent)
    with pytest.raises(MissingObject, match="does not know trainjobs") as refusal:
        scene.launch()
    assert refusal.value.fix == "install Kubeflow Trainer 2.3"


@pytest.mark.parametrize(
    ("exchange", "message"),
    [("", "exchange is empty"), ("/elsewhere", "is not on a volume"), ("/dev/shm/x", "not on a volume")],
)
def test_exchange_that_nodes_cannot_access_is_refused(scene, exchange, message):
    config = settings(Path("/mnt/volume")).replace(exchange=exchange)
    with pytest.raises(InputError, match=message):
        scene.launch(config)


def test_volume_that_workers_cannot_read_is_refused_before_the_start(scene):
    scene.folder.chmod(0o700)
    with pytest.raises(InputError, match="group 0 with mode 700, so workers, which run as user and group 1000"):
        scene.launch()
    assert not scene.uid()
