"""A model's whole way on Kubernetes by the compiled training pipeline's own steps, from events to a rollback."""

import json
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import fsspec
import httpx
import pytest

from components.rollout_model.guards import Metric
from components.rollout_model.record import RolloutRecord, read_record
from components.shared.cluster.worker_pods import JOB_LABEL, NODE_LABEL
from components.shared.progress import parse
from components.shared.release.signing import PRIVATE_FILE
from components.shared.tests.waiting import eventually
from pipelines.compiling import COMPILED
from pipelines.overrides import Overrides
from pipelines.resources import KEY_NAME
from serving.tests.handmade import write_golden
from tests.cluster.compiled_steps import CompiledPipeline, Step
from tests.cluster.journey_place import MODEL, Place, StoredShop, write_events
from tests.cluster.platform.client import Platform
from tests.cluster.platform.object_store import ACCESS_KEY, SECRET_KEY
from tests.cluster.rollout_shop import GUARDS, Shoppers, sold_out
from tests.cluster.step_pods import StepPods
from tests.cluster.timeline import Timeline

pytestmark = [
    pytest.mark.filterwarnings("ignore:Unverified HTTPS request"), pytest.mark.slow, pytest.mark.timeout(1500),
]  # fmt: skip

CACHED = ["ingest-events", "validate-data", "build-features", "train-retriever", "train-ranker", "compile-model"]
ALWAYS = ["check-parameters", "evaluate-model", "register-model", "validate-serving"]
"""Steps that KFP's cache skips, and those that run each time."""

# Neither overlap nor calibration says anything of models that are trained for seconds.
_GUARDS = GUARDS.replace(judged=tuple(one for one in Metric if one is not Metric.OVERLAP), min_duration_s=6.0)
_RULES = {
    "beat": [], "tolerance": 1.0, "min_shoppers": 1, "min_auc": 0.0, "min_coverage": 0.0, "max_calibration_error": 1.0,
    "max_calibration_ratio": 1000.0, "max_shuffled_errors": 1000.0, "max_learned_auc": 1.0, "max_single_input_auc": 1.0,
}  # fmt: skip
_RANKER = {"epochs": 2, "batch_shoppers": 10, "refit": False, "checkpoint_every": 1000}


def options(bucket: str, **changes: Any) -> dict[str, Any]:
    """Parameters of a run."""
    given = {
        "source": "/mnt/shoprank/events/events.csv", "size": "tiny", "gpus": "0", "cpu": "1", "memory": "2Gi",
        "model_name": MODEL, "registry": f"s3://{bucket}/registry",
        "training": {"launch": "trainjob", "nodes": 2, "exchange": f"s3://{bucket}/exchange", "node_cpu": "600m",
                     "node_memory": "2Gi"},
        "retriever": {"epochs": 6, "patience": 6, "sampling": {"batch_size": 64}, "checkpoint_every": 3},
        "ranker": _RANKER, "evaluation": {"rules": _RULES, "bootstrap": {"resamples": 20}},
        "compile": {"table_format": "fp32", "timed_requests": 10},
        "release": {"backend": "kserve", "max_p99_ms": 10_000.0},
        "rollout": {"evidence": "/mnt/shoprank/inference-log", "gateway": "shoprank", "steps": [20, 60, 100],
                    "poll_s": 1.0, "guards": json.loads(_GUARDS.model_dump_json())},
    }  # fmt: skip
    return given | changes


@pytest.fixture
def bucket(node: Platform, monkeypatch) -> str:
    """A new bucket of the platform's S3 server, to which this process's variables point."""
    for name, value in (("AWS_ENDPOINT_URL", f"http://{node.facts['node']}:{node.facts['ports']['s3']}"),
                        ("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
                        ("AWS_DEFAULT_REGION", "us-east-1")):  # fmt: skip
        monkeypatch.setenv(name, value)
    name = f"journey-{uuid.uuid4().hex[:8]}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """The namespace, with a small shop's events on its volume; only for `make test-cluster`, as it takes minutes."""
    if request.config.getoption("--kube-context", default=None) is None:
        pytest.skip("the journey of eight minutes is run by `make test-cluster`")
    node = request.getfixturevalue("node")
    request.getfixturevalue("training_runtime")
    found = Place(node, tmp_path)
    write_events(found.folder / "events")
    yield found
    found.remove()


def kill_a_node(place: Place, bucket: str, timeline: Timeline) -> tuple[threading.Thread, list[str]]:
    """Delete the second node's pod by force as soon as a checkpoint is in S3; the list gets its JobSet's restarts."""
    restarts: list[str] = []
    cluster, store = place.connect(), fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)

    def kill() -> None:
        while not any(path.endswith("/.metadata") for path in store.find(f"{bucket}/exchange")):
            time.sleep(0.2)
        (pod,) = cluster.read("pods", labelSelector=f"{JOB_LABEL},{NODE_LABEL}=1")["items"]
        place.kubectl("delete", "pod", pod["metadata"]["name"], "--force", "--grace-period=0")
        timeline.mark("worker killed")
        while not restarts:
            said = place.kubectl("get", "jobset", "-o", "jsonpath={.items[*].status.restarts}")
            restarts.extend([said] if said.strip("0 ") else [])

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread, restarts


def ran(steps: dict[str, Step]) -> set[str]:
    """Steps that were not skipped."""
    return {name for name, step in steps.items() if not step.cached}


def moved(steps: dict[str, Step], place: Place, timeline: Timeline) -> RolloutRecord:
    """The record of a rollout, whose end is marked."""
    outputs = steps["rollout-model"].outputs
    record = read_record(place.artifacts / outputs.artifacts["record"]["uri"].removeprefix("minio://"))
    timeline.mark(record.action.replace("_", " "), record.moved)
    assert outputs.parameters["Output"] == record.action
    return record


def answers(url: str) -> str:
    """Version that answers at the gateway."""
    asked = {"instances": [{"user_id": "u3", "k": 5}]}
    said = httpx.post(f"{url}/v1/models/shoprank:predict", json=asked, trust_env=False, timeout=10).json()
    assert said["predictions"][0]["items"]
    return said["predictions"][0]["model_version"]


def test_a_models_whole_way(place, service_names, bucket, tmp_path):
    timeline, pods = Timeline(), StepPods(place, place.artifacts)
    Overrides(max_cpu="2", max_memory="2Gi").write(COMPILED / "training.yaml", tmp_path / "training.yaml")
    pipeline = CompiledPipeline(tmp_path / "training.yaml", pods, timeline.step)
    thread, restarts = kill_a_node(place, bucket, timeline)
    first = pipeline.run("first", **options(bucket))
    thread.join(10)
    assert restarts == ["1"] and ran(first) == {*CACHED, *ALWAYS, "deploy-model"}
    shares = [found[1] for line in pods.log("first-train-retriever").splitlines() if (found := parse(line))]
    assert shares == sorted(shares) and shares.count(shares[0]) == 1, "the killed training did not resume"
    shop = StoredShop(place, f"s3://{bucket}/registry")
    one, url = first["register-model"].outputs.parameters["Output"], shop.open()
    assert answers(url) == one == first["deploy-model"].outputs.parameters["Output"]
    with Shoppers(url, clients=2) as shoppers, timeline.counting(shoppers):
        again = options(bucket, strategy="guarded", ranker={**_RANKER, "epochs": 3})
        second = pipeline.run("second", **again)
        two = second["register-model"].outputs.parameters["Output"]
        assert ran(second) == {"train-ranker", "compile-model", *ALWAYS, "rollout-model"}
        assert moved(second, place, timeline).action == "promoted" and shop.served() == two != one
        break_artifact(place, second)
        third = pipeline.run("third", **again)
        three = third["register-model"].outputs.parameters["Output"]
        assert ran(third) == {*ALWAYS, "rollout-model"} and three not in (one, two)
        record = moved(third, place, timeline)
        assert record.action == "rolled_back" and "empty" in " ".join(record.reasons)
        assert shop.served() == two == answers(url)
        roll_back(place, bucket, timeline)
        assert eventually(lambda: answers(url) == one) and shop.served() == one
        time.sleep(5)
    timeline.write({one: "first", two: "second", three: "third, sold out"})
    assert shoppers.failed == {} and shoppers.answers[three] > 0
    assert shop.registry.aliases(MODEL)["champion"] == one
    assert with_private_key(place) == {f"{run}-register-model" for run in ("first", "second", "third")}
    assert shop.registry.audit(MODEL).entries()[-1]["action"] == "rollback_served"


def with_private_key(place: Place) -> set[str]:
    """Pods of steps and predictors that can read the private key."""
    found = set[str]()
    for pod in json.loads(place.kubectl("get", "pods", "-o", "json"))["items"]:
        mounted = [one.get("secret", {}).get("secretName") for one in pod["spec"]["volumes"]]
        containers = [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
        keys = [one.get("valueFrom", {}).get("secretKeyRef", {}) for each in containers for one in each.get("env", [])]
        from_all = [one.get("secretRef", {}).get("name") for each in containers for one in each.get("envFrom", [])]
        by_variable = any(one.get("name") == KEY_NAME and one["key"] != f"{PRIVATE_FILE}.pub" for one in keys)
        if KEY_NAME in (*mounted, *from_all) or by_variable:
            found.add(pod["metadata"]["name"])
    return found


def break_artifact(place: Place, steps: dict[str, Step]) -> None:
    """Damage a compiled model in the artifact store: every item is sold out; KFP's cache still hands it out."""
    folder = place.artifacts / steps["compile-model"].outputs.artifacts["compiled"]["uri"].removeprefix("minio://")
    sold_out(folder)
    write_golden(folder)


def roll_back(place: Place, bucket: str, timeline: Timeline) -> None:
    """Roll back as a person does."""
    timeline.mark("shoprank rollback")
    address = place.kubectl("get", "service", "shoprank-predictor", "-o", "jsonpath={.spec.clusterIP}")
    place.shoprank("rollback", "--service", "shoprank", "--namespace", place.name, "--registry",
                   f"s3://{bucket}/registry", "--url", f"http://{address}")  # fmt: skip
