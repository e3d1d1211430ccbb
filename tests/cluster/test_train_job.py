"""Training as a TrainJob on a real API server: real workers on two nodes, a killed node, retries, refusals."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import fsspec
import pytest

from components.shared.cluster.kinds import TRAIN_JOB
from components.shared.cluster.train_job import train_job
from components.shared.cluster.train_launcher import TrainJobLauncher
from components.shared.errors import ClusterError, InputError, MissingObject, TrainingError
from components.shared.progress import parse
from components.shared.training.launch import LaunchConfig
from components.shared.training.optimizer import OptimizerConfig
from components.train_ranker.config import RankerTraining
from components.train_ranker.train import train as train_ranker
from components.train_retriever.config import RetrieverTraining, SamplingConfig
from components.train_retriever.train import train
from tests import custom_resources
from tests.cluster.same_model import assert_same_model
from tests.cluster.trainer_controller import FileLogs, Trainer, write_active
from tests.cluster.training_step import LIMITS, Scene, retrying, settings

pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")

CONFIG = RetrieverTraining(
    sampling=SamplingConfig(batch_size=256, seed=7), embedding_dim=8, hidden_dim=16, epochs=2, checkpoint_every=3,
    optimizer=OptimizerConfig(seed=7),
)  # fmt: skip
"""Twelve steps per epoch."""


@pytest.fixture(scope="module")
def in_pod(tiny_run, tmp_path_factory) -> Path:
    """The model trained by two processes of one pod, without interruption."""
    out = tmp_path_factory.mktemp("in-pod") / "model"
    train(tiny_run.features, out, CONFIG.replace(launch=LaunchConfig(processes=2, threads=1)))
    return out


@pytest.fixture(scope="module")
def bucket():
    """A bucket of an S3 server, and the environment variables that point to it."""
    code = "from moto.server import main; main(['-p', '0', '-H', '127.0.0.1'])"
    with pytest.MonkeyPatch.context() as patch:
        process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        address = next(found[0] for line in process.stderr if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
        drain = threading.Thread(target=process.stderr.read, daemon=True)
        drain.start()
        for name, value in {
            "AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():  # fmt: skip
            patch.setenv(name, value)
        fsspec.filesystem("s3").clear_instance_cache()
        fsspec.filesystem("s3").mkdir("shop")
        yield "shop"
        process.terminate()
        process.wait()
        drain.join()
        process.stderr.close()


@pytest.mark.slow
def test_two_nodes_train_the_same_model_as_two_processes_of_a_pod(cluster, tiny_run, in_pod, tmp_path, capfd):
    config = CONFIG.replace(launch=settings(tmp_path))
    launcher = TrainJobLauncher(cluster=cluster, logs=FileLogs(tmp_path), config=config.launch, limits=LIMITS)
    with Trainer(cluster, tmp_path).running() as trainer:
        train(tiny_run.features, tmp_path / "model", config, launcher=launcher)
    assert trainer.attempts == 1
    assert_same_model(tmp_path / "model", in_pod)
    (body,) = trainer.bodies
    assert custom_resources.errors({key: body[key] for key in ("apiVersion", "kind", "metadata", "spec")}) == []
    reports = [found for line in capfd.readouterr().out.splitlines() if (found := parse(line))]
    assert reports[-1][:2] == ("train_retriever", 1.0) and len(reports) == 4
    assert not list((tmp_path / "exchange/train_retriever").iterdir()), "what is taken back is cleared away"


@pytest.mark.slow
def test_a_killed_node_resumes_from_a_checkpoint_in_the_object_store(cluster, bucket, tiny_run, in_pod, tmp_path):
    store, reached = fsspec.filesystem("s3", use_listings_cache=False), []

    def saved() -> bool:
        found = [path.split("/")[-2] for path in store.find(f"{bucket}/runs") if path.endswith("/.metadata")]
        reached.extend(found)
        return bool(found)

    config = CONFIG.replace(launch=settings(tmp_path, f"minio://{bucket}/runs/"))
    launcher = TrainJobLauncher(cluster=cluster, logs=FileLogs(tmp_path), config=config.launch, limits=LIMITS)
    with Trainer(cluster, tmp_path, restarts=1, kill=saved).running() as trainer:
        train(tiny_run.features, tmp_path / "model", config, launcher=launcher)
    assert trainer.attempts == 2 and set(reached) == {"step_3"}
    assert_same_model(tmp_path / "model", in_pod)
    assert store.find(bucket) == []


@pytest.mark.slow
def test_ranker_and_refit_train_on_nodes_and_resume_from_the_object_store(cluster, bucket, tiny_run, tmp_path):
    """A node is killed once the first checkpoint of the refit exists."""
    store = fsspec.filesystem("s3", use_listings_cache=False)

    def refitting() -> bool:
        return any("/refit/checkpoints/" in path and path.endswith("/.metadata") for path in store.find(bucket))

    base = RankerTraining(
        embedding_dim=8, hidden_dim=16, epochs=1, batch_shoppers=10, checkpoint_every=2,
        own_candidates=40, retrieved_candidates=30, popular_candidates=10, similar_candidates=30,
    )  # fmt: skip
    config = base.replace(launch=settings(tmp_path, f"minio://{bucket}/rankers/"))
    launcher = TrainJobLauncher(cluster=cluster, logs=FileLogs(tmp_path), config=config.launch, limits=LIMITS)
    with Trainer(cluster, tmp_path, restarts=1, kill=refitting).running() as trainer:
        train_ranker(tiny_run.features, tiny_run.retriever, tmp_path / "nodes", config, launcher=launcher)
    config = base.replace(launch=LaunchConfig(processes=2, threads=1))
    train_ranker(tiny_run.features, tiny_run.retriever, tmp_path / "pod", config)
    assert trainer.attempts == 2 and store.find(bucket) == []
    assert_same_model(tmp_path / "nodes", tmp_path / "pod")
    assert {path.name for path in (tmp_path / "nodes").iterdir()} == {
        "config.json", "candidates.json", "weights.safetensors", "trained_rows.safetensors", "curve.json", "refit.json",
    }  # fmt: skip


@pytest.fixture
def scene(cluster, tmp_path) -> Scene:
    return Scene(cluster, tmp_path)


def test_a_retried_step_finds_its_train_job_again(scene, monkeypatch):
    monkeypatch.setenv("KFP_POD_NAME", "step-1")
    monkeypatch.setenv("KFP_POD_UID", "uid-1")
    scene.play(lambda: os.kill(os.getpid(), signal.SIGUSR1))

    def die(*_):
        raise RuntimeError("the step's pod died")

    before = signal.signal(signal.SIGUSR1, die)
    with pytest.raises(RuntimeError):
        scene.launch()
    signal.signal(signal.SIGUSR1, before)
    first = scene.cluster.get(TRAIN_JOB, scene.name)
    assert first["metadata"]["ownerReferences"][0]["name"] == "step-1"
    assert first["metadata"]["labels"]["app.kubernetes.io/part-of"] == "shoprank"
    monkeypatch.setenv("KFP_POD_NAME", "step-2")
    monkeypatch.setenv("KFP_POD_UID", "uid-2")
    player = threading.Timer(1, scene.complete)
    player.start()
    scene.launch()
    player.join()
    second = scene.cluster.get(TRAIN_JOB, scene.name)
    assert second["metadata"]["uid"] == first["metadata"]["uid"]
    assert [owner["uid"] for owner in second["metadata"]["ownerReferences"]] == ["uid-2"]
    assert (scene.folder / "work/curve.json").read_text() == "[]"


def test_train_job_that_failed_or_lost_its_results_is_recreated(scene):
    uids = []

    def act():
        uids.append(scene.cluster.get(TRAIN_JOB, scene.name)["metadata"]["uid"])
        scene.fail()

    scene.play(act)
    with pytest.raises(TrainingError, match=r"failed: no output \(TrainJob .*: jobset failed\)"):
        scene.launch()

    def again():
        while scene.cluster.get(TRAIN_JOB, scene.name)["metadata"]["uid"] in uids:
            threading.Event().wait(0.05)
        act_done.set()
        scene.complete()

    for _ in range(2):
        act_done = threading.Event()
        uids[:] = [scene.cluster.get(TRAIN_JOB, scene.name)["metadata"]["uid"]]
        player = threading.Thread(target=retrying, args=(again,), daemon=True)
        player.start()
        scene.launch()
        player.join()
        assert act_done.is_set()


def test_cancelled_run_deletes_its_train_job(scene):
    def cancel():
        write_active(scene.cluster, scene.name, 2)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    scene.play(cancel)
    with pytest.raises(SystemExit) as ended:
        scene.launch()
    assert ended.value.code == 128 + signal.SIGTERM
    assert scene.cluster.find(TRAIN_JOB, scene.name) is None
    assert signal.getsignal(signal.SIGTERM) == before


def test_run_survives_a_restart_of_the_api_server(scene, api_server):
    def act():
        write_active(scene.cluster, scene.name, 2)
        api_server.restart(away_s=8)
        retrying(lambda: scene.cluster.get(TRAIN_JOB, scene.name))
        scene.complete()

    player = scene.play(act)
    scene.launch()
    player.join()
    assert (scene.folder / "work/curve.json").exists()


REFUSED = [
    "W1124 torch/distributed/elastic: Sending process 12 closing signal SIGTERM",
    "[rank1]: components.shared.errors.TrainingError: train_retriever: the loss is nan at epoch 1, step 3",
    "[rank1]:   fix: lower the learning rate; check the rows for infinite values",
    "  exitcode  : 1 (pid: 12)",
]


@pytest.mark.parametrize(("lines", "end", "headline", "fix"), [
        (REFUSED, {}, r"^train_retriever: the loss is nan at epoch 1, step 3\n", "lower the learning rate"),
        (
            ["RuntimeError: CUDA out of memory", "  exitcode  : -9 (pid: 12)"], {"message": "node-0: OOMKilled"},
            r"worker failed with exit code -9: RuntimeError: CUDA out of memory \(TrainJob .*: node-0: OOMKilled\)",
            "out of memory",
        ),
        ([], {"reason": "DeadlineExceeded"}, "ran longer than 600 s", "last checkpoint"),
], ids=["own", "memory", "deadline"])  # fmt: skip
def test_error_of_a_failed_train_job_quotes_the_worker(scene, lines, end, headline, fix):
    def act():
        scene.say(*lines)
        scene.fail(**end)

    scene.play(act)
    with pytest.raises(TrainingError, match=headline) as failure:
        scene.launch()
    assert fix in failure.value.fix


def test_train_job_that_never_starts_reports_why_it_waits(scene):
    with pytest.raises(TrainingError, match=r"no worker .* within 1 s: .*Insufficient nvidia\.com/gpu") as failure:
        scene.launch(start_s=1)
    assert "2 nodes" in failure.value.fix
    assert scene.cluster.find(TRAIN_JOB, scene.name) is None


def test_deleted_train_job_is_reported(scene):
    scene.play(lambda: scene.cluster.delete(TRAIN_JOB, scene.name))
    with pytest.raises(TrainingError, match="was deleted while it ran"):
        scene.launch()


def test_train_job_of_another_owner_is_not_touched(scene):
    body = train_job(scene.task, settings(scene.folder), scene.name, "/job.json", 60)
    scene.cluster.create(TRAIN_JOB, {**body, "metadata": {"name": scene.name, "labels": {"team": "other"}}})
    with pytest.raises(ClusterError, match="was not created by shoprank"):
        scene.launch()


def test_error_for_a_rejected_train_job_names_the_field(scene):
    config = settings(scene.folder).model_copy(update={"processes": "many"})  # beyond what the options let through
    launcher = TrainJobLauncher(cluster=scene.cluster, logs=FileLogs(scene.folder), config=config, limits=LIMITS)
    with pytest.raises(ClusterError, match=r"422 .*numProcPerNode"):
        launcher.run(scene.task, scene.folder)


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
    config = settings(scene.folder).replace(exchange=exchange)
    launcher = TrainJobLauncher(cluster=scene.cluster, logs=FileLogs(scene.folder), config=config, limits=LIMITS)
    with pytest.raises(InputError, match=message):
        launcher.run(scene.task, scene.folder)
