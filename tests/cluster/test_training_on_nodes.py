"""Training on two nodes of the platform, by Trainer and JobSet: the model of one pod, also when a node is killed."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from components.shared.cluster.pods import PodLogs
from components.shared.cluster.train_launcher import TrainJobLauncher
from components.shared.cluster.worker_pods import JOB_LABEL, NODE_LABEL
from components.shared.progress import parse
from components.shared.training.launch import LaunchConfig
from components.shared.training.optimizer import OptimizerConfig
from components.train_ranker.config import RankerTraining
from components.train_ranker.train import train as train_ranker
from components.train_retriever.config import RetrieverTraining, SamplingConfig
from components.train_retriever.train import train
from tests.cluster.faults import log_fault
from tests.cluster.platform.client import Platform
from tests.cluster.platform.object_store import ACCESS_KEY, SECRET_KEY
from tests.cluster.same_model import assert_same_model
from tests.cluster.training_step import LIMITS, Volume

pytestmark = pytest.mark.slow

CONFIG = RetrieverTraining(
    sampling=SamplingConfig(batch_size=256, seed=7), embedding_dim=8, hidden_dim=16, epochs=2, checkpoint_every=3,
    optimizer=OptimizerConfig(seed=7),
)  # fmt: skip
"""Twelve steps per epoch."""

BUCKET = "trainings"
"""One for all tests: the S3 server sets aside space for each bucket."""


@pytest.fixture(scope="module")
def in_pod(tiny_run, tmp_path_factory) -> Path:
    """The model trained by two processes of one pod, without interruption."""
    out = tmp_path_factory.mktemp("in-pod") / "model"
    train(tiny_run.features, out, CONFIG.replace(launch=LaunchConfig(processes=2, threads=1)))
    return out


@pytest.fixture
def volume(node: Platform, cluster, tmp_path) -> Iterator[Volume]:
    found = Volume(node, cluster, tmp_path)
    yield found
    found.close()


@pytest.fixture
def store(node: Platform, monkeypatch) -> dict[str, str]:
    """Variables that point to the platform's S3 server, also set here; BUCKET exists."""
    given = {
        "AWS_ENDPOINT_URL": f"http://{node.facts['node']}:{node.facts['ports']['s3']}",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    fsspec.filesystem("s3").clear_instance_cache()
    fsspec.filesystem("s3").makedirs(BUCKET, exist_ok=True)
    return given


def on_nodes(volume: Volume, exchange: str = "", env: dict[str, str] | None = None) -> TrainJobLauncher:
    """Launcher of a step."""
    variables = [{"name": name, "value": value} for name, value in (env or {}).items()]
    config = volume.settings(exchange, node_cpu="600m", node_memory="2Gi", env=variables)
    return TrainJobLauncher(
        cluster=volume.cluster, logs=PodLogs(volume.cluster, every_s=0.5), config=config, limits=LIMITS
    )


def uploaded(folder: str, end: str) -> list[str]:
    """Files of a folder whose path ends so."""
    found = fsspec.filesystem("s3", use_listings_cache=False).find(folder)
    return [path for path in found if path.endswith(end) and path != folder]


def kill_node_when(volume: Volume, ripe: Callable[[], bool]) -> tuple[threading.Thread, list[str]]:
    """Delete the pod of the second node by force as soon as `ripe`; the list gets its name."""
    killed = []

    def wait() -> None:
        while not ripe():
            time.sleep(0.1)
        labels = f"{JOB_LABEL},{NODE_LABEL}=1"
        (pod,) = volume.cluster.read("pods", labelSelector=labels)["items"]
        killed.append(pod["metadata"]["name"])
        volume.node.kubectl("-n", volume.cluster.namespace, "delete", "pod", killed[0], "--force", "--grace-period=0")

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread, killed


def test_two_nodes_train_the_same_model_as_two_processes_of_a_pod(volume, tiny_run, in_pod, tmp_path, capfd):
    launcher = on_nodes(volume)
    train(tiny_run.features, tmp_path / "model", CONFIG.replace(launch=launcher.config), launcher=launcher)
    assert_same_model(tmp_path / "model", in_pod)
    reports = [found for line in capfd.readouterr().out.splitlines() if (found := parse(line))]
    assert reports[-1][:2] == ("train_retriever", 1.0) and len(reports) == 4
    assert not list((tmp_path / "exchange/train_retriever").iterdir()), "what is taken back is cleared away"


def test_a_killed_node_resumes_from_a_checkpoint_in_the_object_store(volume, store, tiny_run, in_pod, tmp_path, capfd):
    exchange, started = f"{BUCKET}/{volume.cluster.namespace}", time.monotonic()
    launcher = on_nodes(volume, f"minio://{exchange}/", store)
    thread, killed = kill_node_when(volume, lambda: bool(uploaded(exchange, "/.metadata")))
    train(tiny_run.features, tmp_path / "model", CONFIG.replace(launch=launcher.config), launcher=launcher)
    thread.join()
    log_fault("pod of a node deleted by force", "resumed from its checkpoint", time.monotonic() - started)
    assert len(killed) == 1
    assert_same_model(tmp_path / "model", in_pod)
    firsts = [line for line in capfd.readouterr().out.splitlines() if "epoch 1/2" in line and parse(line)]
    assert len(firsts) == 1, "the first epoch's first step was not repeated"
    assert uploaded(exchange, "") == []


def test_ranker_and_refit_train_on_nodes_and_resume_from_the_object_store(volume, store, tiny_run, tmp_path):
    """A node is killed once the first checkpoint of the refit exists."""
    exchange = f"{BUCKET}/{volume.cluster.namespace}"
    base = RankerTraining(
        embedding_dim=8, hidden_dim=16, epochs=1, batch_shoppers=10, checkpoint_every=2,
        own_candidates=40, retrieved_candidates=30, popular_candidates=10, similar_candidates=30,
    )  # fmt: skip
    launcher = on_nodes(volume, f"minio://{exchange}/", store)

    def refitting() -> bool:
        return any("/refit/checkpoints/" in path for path in uploaded(exchange, "/.metadata"))

    thread, killed = kill_node_when(volume, refitting)
    config = base.replace(launch=launcher.config)
    train_ranker(tiny_run.features, tiny_run.retriever, tmp_path / "nodes", config, launcher=launcher)
    thread.join()
    config = base.replace(launch=LaunchConfig(processes=2, threads=1))
    train_ranker(tiny_run.features, tiny_run.retriever, tmp_path / "pod", config)
    assert len(killed) == 1 and uploaded(exchange, "") == []
    assert_same_model(tmp_path / "nodes", tmp_path / "pod")
    assert {path.name for path in (tmp_path / "nodes").iterdir()} == {
        "config.json", "candidates.json", "weights.safetensors", "trained_rows.safetensors", "curve.json", "refit.json",
    }  # fmt: skip
