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
import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from components.cluster.kinds import TRAIN_JOB
from components.cluster.train_job import job_name, train_job
from components.cluster.train_launcher import TrainJobLauncher, TrainJobLimits
from components.shared.errors import ClusterError, InputError, MissingObject, TrainingError
from components.shared.progress import parse
from components.shared.storage import read_json
from components.shared.training.launch import Inputs, LaunchConfig, PodSettings, WorkerTask
from components.shared.training.optimizer import OptimizerConfig
from components.train_retriever.batches import SamplingConfig
from components.train_retriever.train import RetrieverTraining, train
from tests import custom_resources
from tests.cluster.trainer_controller import FileLogs, Trainer, write_active, write_end

pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")

CONFIG = RetrieverTraining(
    sampling=SamplingConfig(batch_size=256, seed=7), embedding_dim=8, hidden_dim=16, epochs=2, checkpoint_every=3,
    optimizer=OptimizerConfig(seed=7),
)  # fmt: skip
"""Twelve steps an epoch."""

LIMITS = TrainJobLimits(start_s=60, run_s=600, gone_s=10)


def pod_with(folder: Path) -> PodSettings:
    """Settings as KFP hands them over, with a claim mounted at `folder`."""
    return PodSettings.of(
        {
            "resources": {
                "requests": {"cpu": "4", "memory": "32Gi"},
                "limits": {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "0"},
            },
            "env": [{"name": "AWS_REGION", "value": "eu"}, {"name": "KFP_RUN_ID", "value": "r1"}],
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "node_selector": {"shoprank.example/pool": "gpu"},
            "affinity": None,
            "volumes": [
                {"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}},
                {"name": "shared", "persistentVolumeClaim": {"claimName": "shoprank-registry"}},
            ],
            "volume_mounts": [
                {"name": "dshm", "mountPath": "/dev/shm"},
                {"name": "shared", "mountPath": str(folder)},
            ],
        }
    )


def settings(folder: Path, exchange: str = "", **changes) -> LaunchConfig:
    given = {"launch": "trainjob", "nodes": 2, "threads": 1, "pod": pod_with(folder)}
    return LaunchConfig(exchange=exchange or str(folder / "exchange"), **{**given, **changes})


def curve(model: Path) -> list[dict]:
    points = read_json(model / "curve.json")
    return [{name: value for name, value in point.items() if name != "seconds"} for point in points]


def assert_same_model(one: Path, other: Path) -> None:
    """Bit for bit: the same shards on the same number of ranks do the same sums."""
    assert curve(one) == curve(other)
    assert (one / "config.json").read_bytes() == (other / "config.json").read_bytes()
    ours, theirs = load_file(one / "weights.safetensors"), load_file(other / "weights.safetensors")
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


@pytest.fixture(scope="module")
def in_pod(tiny_run, tmp_path_factory) -> Path:
    """The model that two processes of one pod train, undisturbed."""
    out = tmp_path_factory.mktemp("in-pod") / "model"
    train(tiny_run.features, out, dataclasses.replace(CONFIG, launch=LaunchConfig(processes=2, threads=1)))
    return out


@pytest.fixture(scope="module")
def bucket():
    """A bucket of an S3 server, and the environment that leads there."""
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
def test_two_nodes_train_the_model_that_two_processes_of_a_pod_do(cluster, tiny_run, in_pod, tmp_path, capfd):
    config = dataclasses.replace(CONFIG, launch=settings(tmp_path))
    launcher = TrainJobLauncher(cluster=cluster, logs=FileLogs(tmp_path), config=config.launch, limits=LIMITS)
    with Trainer(cluster, tmp_path).running() as trainer:
        train(tiny_run.features, tmp_path / "model", config, launcher=launcher)
    assert trainer.attempts == 1
    assert_same_model(tmp_path / "model", in_pod)
    (body,) = trainer.bodies
    assert custom_resources.errors({key: body[key] for key in ("apiVersion", "kind", "metadata", "spec")}) == []
    reports = [found for line in capfd.readouterr().out.splitlines() if (found := parse(line))]
    assert reports[-1][:2] == ("train_retriever", 1.0) and len(reports) > 4
    assert not list((tmp_path / "exchange/train_retriever").iterdir()), "what is taken back is cleared away"


@pytest.mark.slow
def test_a_killed_node_resumes_from_a_checkpoint_in_the_object_store(cluster, bucket, tiny_run, in_pod, tmp_path):
    store, reached = fsspec.filesystem("s3", use_listings_cache=False), []

    def saved() -> bool:
        found = [path.split("/")[-2] for path in store.find(f"{bucket}/runs") if path.endswith("/.metadata")]
        reached.extend(found)
        return bool(found)

    config = dataclasses.replace(CONFIG, launch=settings(tmp_path, f"minio://{bucket}/runs/"))
    launcher = TrainJobLauncher(cluster=cluster, logs=FileLogs(tmp_path), config=config.launch, limits=LIMITS)
    with Trainer(cluster, tmp_path, restarts=1, kill=saved).running() as trainer:
        train(tiny_run.features, tmp_path / "model", config, launcher=launcher)
    assert trainer.attempts == 2 and set(reached) == {"step_3"}
    assert_same_model(tmp_path / "model", in_pod)
    assert store.find(bucket) == []


def task_in(folder: Path) -> WorkerTask:
    (folder / "data.txt").write_text("rows")
    return WorkerTask(
        stage="train_retriever", module="components.train_retriever.worker", digest="0123456789abcdef",
        settings={"epochs": 1}, inputs={"features": Inputs(folder=folder, files=("data.txt",))},
        results=("curve.json",),
    )  # fmt: skip


class Scene:
    """A step with a TrainJob whose controller and workers a test plays by hand."""

    def __init__(self, cluster, folder: Path):
        self.cluster, self.folder = cluster, folder
        self.task, self.name = task_in(folder), job_name(task_in(folder), "")
        self.run_folder = folder / "exchange/train_retriever" / self.name / "run"

    def launch(self, **limits) -> None:
        limit = dataclasses.replace(LIMITS, **limits)
        launcher = TrainJobLauncher(
            cluster=self.cluster, logs=FileLogs(self.folder), config=settings(self.folder), limits=limit
        )
        (self.folder / "work").mkdir(exist_ok=True)
        launcher.run(self.task, self.folder / "work")

    def play(self, act) -> threading.Thread:
        """Do `act` as soon as the TrainJob is there."""

        def wait() -> None:
            while self.cluster.find(TRAIN_JOB, self.name) is None:
                threading.Event().wait(0.05)
            act()

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        return thread

    def say(self, *lines: str) -> None:
        with (self.folder / f"{self.name}-1.log").open("a") as log:
            log.write("".join(f"{line}\n" for line in lines))

    def complete(self) -> None:
        self.run_folder.mkdir(parents=True, exist_ok=True)
        (self.run_folder / "curve.json").write_text("[]")
        write_end(self.cluster, self.name, "Complete", "JobsCompleted", "done")

    def fail(self, reason: str = "JobsFailed", message: str = "jobset failed") -> None:
        write_end(self.cluster, self.name, "Failed", reason, message)


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


def test_one_that_failed_before_or_lost_its_results_is_made_anew(scene):
    seen = []

    def act():
        seen.append(scene.cluster.get(TRAIN_JOB, scene.name)["metadata"]["uid"])
        scene.fail()

    scene.play(act)
    with pytest.raises(TrainingError, match=r"failed: no output \(TrainJob .*: jobset failed\)"):
        scene.launch()

    def again():
        while scene.cluster.get(TRAIN_JOB, scene.name)["metadata"]["uid"] in seen:
            threading.Event().wait(0.05)
        act_done.set()
        scene.complete()

    for _ in range(2):
        act_done = threading.Event()
        seen[:] = [scene.cluster.get(TRAIN_JOB, scene.name)["metadata"]["uid"]]
        player = threading.Thread(target=retrying, args=(again,), daemon=True)
        player.start()
        scene.launch()
        player.join()
        assert act_done.is_set()


def retrying(act) -> None:
    """Over the moment in which the TrainJob is deleted and not yet made again."""
    while True:
        try:
            return act()
        except MissingObject:
            threading.Event().wait(0.02)


def test_a_cancelled_run_takes_its_train_job_away(scene):
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


def test_an_api_server_that_is_away_does_not_end_the_run(scene, api_server):
    def act():
        write_active(scene.cluster, scene.name, 2)
        api_server.restart(away_s=8)
        scene.say("progress train_retriever 0.500 back")
        scene.complete()

    player = scene.play(act)
    scene.launch()
    player.join()
    assert (scene.folder / "work/curve.json").exists()


REFUSED = [
    "W1124 torch/distributed/elastic: Sending process 12 closing signal SIGTERM",
    "[rank1]: components.shared.errors.TrainingError: train_retriever: the loss is nan at epoch 1, step 3",
    "[rank1]:   mend: lower the learning rate; check the rows for infinite values",
    "  exitcode  : 1 (pid: 12)",
]


@pytest.mark.parametrize(
    ("lines", "end", "headline", "mend"),
    [
        (REFUSED, {}, r"^train_retriever: the loss is nan at epoch 1, step 3$", "lower the learning rate"),
        (
            ["RuntimeError: CUDA out of memory", "  exitcode  : -9 (pid: 12)"], {"message": "node-0: OOMKilled"},
            r"worker failed with exit code -9: RuntimeError: CUDA out of memory \(TrainJob .*: node-0: OOMKilled\)",
            "out of memory",
        ),
        ([], {"reason": "DeadlineExceeded"}, "ran longer than 600 s", "last checkpoint"),
    ],
    ids=["own", "memory", "deadline"],
)  # fmt: skip
def test_a_failed_train_job_is_told_in_the_workers_last_words(scene, lines, end, headline, mend):
    def act():
        scene.say(*lines)
        scene.fail(**end)

    scene.play(act)
    with pytest.raises(TrainingError, match=headline) as failure:
        scene.launch()
    assert mend in failure.value.mend


def test_one_that_never_starts_says_what_it_waits_for(scene):
    with pytest.raises(TrainingError, match=r"no worker .* within 1 s: .*Insufficient nvidia\.com/gpu") as failure:
        scene.launch(start_s=1)
    assert "2 nodes" in failure.value.mend
    assert scene.cluster.find(TRAIN_JOB, scene.name) is None


def test_one_that_somebody_deletes_is_told(scene):
    scene.play(lambda: scene.cluster.delete(TRAIN_JOB, scene.name))
    with pytest.raises(TrainingError, match="was deleted while it ran"):
        scene.launch()


def test_a_stranger_of_the_same_name_is_left_alone(scene):
    body = train_job(scene.task, settings(scene.folder), scene.name, "/job.json", 60)
    scene.cluster.create(TRAIN_JOB, {**body, "metadata": {"name": scene.name, "labels": {"team": "other"}}})
    with pytest.raises(ClusterError, match="is not ours"):
        scene.launch()


def test_a_body_that_the_api_refuses_is_told_with_its_field(scene):
    launcher = TrainJobLauncher(
        cluster=scene.cluster, logs=FileLogs(scene.folder), limits=LIMITS,
        config=settings(scene.folder, processes="many"),
    )  # fmt: skip
    with pytest.raises(ClusterError, match=r"422 .*numProcPerNode"):
        launcher.run(scene.task, scene.folder)


def test_a_cluster_without_trainer_is_told(scene, monkeypatch):
    absent = dataclasses.replace(TRAIN_JOB, version="v9")
    monkeypatch.setattr("components.cluster.train_launcher.TRAIN_JOB", absent)
    with pytest.raises(MissingObject, match="does not know trainjobs") as refusal:
        scene.launch()
    assert refusal.value.mend == "install Kubeflow Trainer 2.3"


def test_the_body_carries_what_the_step_was_given(tmp_path):
    task = task_in(tmp_path)
    body = train_job(task, settings(tmp_path, node_gpus=8, processes=8), job_name(task, "r"), "/x/job.json", 60)
    assert custom_resources.errors(body) == []
    trainer, (patch,) = body["spec"]["trainer"], body["spec"]["runtimePatches"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (2, 8)
    assert trainer["resourcesPerNode"]["limits"] == {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "8"}
    assert {one["name"] for one in trainer["env"]} == {
        "AWS_REGION", "PYTHONUNBUFFERED", "TORCH_CPP_LOG_LEVEL", "OMP_NUM_THREADS",
    }  # fmt: skip
    (node,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod, given = node["template"]["spec"]["template"]["spec"], pod_with(tmp_path)
    assert node["name"] == pod["containers"][0]["name"] == "node"
    assert (pod["tolerations"], pod["volumes"]) == (list(given.tolerations), list(given.volumes))
    assert pod["nodeSelector"] == given.node_selector and "affinity" not in pod
    assert pod["containers"][0]["volumeMounts"] == list(given.volume_mounts)
    assert "nvidia.com/gpu" not in train_job(task, settings(tmp_path), "a", "/x", 6)["spec"]["trainer"][
        "resourcesPerNode"]["limits"], "a count of nothing is left out"  # fmt: skip
    bare = train_job(task, LaunchConfig(launch="trainjob"), "a", "s3://b/job.json", 60)
    assert custom_resources.errors(bare) == [] and bare["spec"]["runtimePatches"] == []
    with pytest.raises(InputError, match="node_gpus is 2"):
        train_job(task, LaunchConfig(node_gpus=2), "a", "/x", 60)


def test_names_follow_from_what_is_trained_and_in_which_run(tmp_path):
    task = task_in(tmp_path)
    assert re.fullmatch(r"train-retriever-[0-9a-f]{10}", job_name(task, "run-1"))
    assert job_name(task, "run-1") == job_name(dataclasses.replace(task, settings={}), "run-1")
    others = [job_name(task, ""), job_name(task, "run-2"), job_name(dataclasses.replace(task, digest="f"), "run-1")]
    assert len({job_name(task, "run-1"), *others}) == 4


@pytest.mark.parametrize(
    ("exchange", "said"), [("", "exchange is empty"), ("/elsewhere", "lies on no volume"), ("/dev/shm/x", "no volume")]
)
def test_an_exchange_that_nodes_would_not_see_is_refused(scene, exchange, said):
    config = dataclasses.replace(settings(scene.folder), exchange=exchange)
    launcher = TrainJobLauncher(cluster=scene.cluster, logs=FileLogs(scene.folder), config=config, limits=LIMITS)
    with pytest.raises(InputError, match=said):
        launcher.run(scene.task, scene.folder)


def test_the_runtime_is_what_trainer_takes(tmp_path):
    path = Path(__file__).parents[2] / "manifests/cluster/cluster-training-runtime.yaml"
    runtime = yaml.safe_load(path.read_text())
    assert custom_resources.errors(runtime) == []
    body = train_job(task_in(tmp_path), LaunchConfig(), "a", "/x", 60)
    assert body["spec"]["runtimeRef"]["name"] == runtime["metadata"]["name"]
    (node,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    pod = node["template"]["spec"]["template"]["spec"]
    assert node["name"] == pod["containers"][0]["name"] == "node"
    assert pod["containers"][0]["image"] == body["spec"]["trainer"]["image"]
