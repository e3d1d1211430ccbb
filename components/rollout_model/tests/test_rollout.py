"""Whole rollouts: a real API server, real predictors behind a test-side KServe, live load, and the real judge."""

import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.cluster.inference_service import ServiceSpec, manifest
from components.cluster.kinds import HTTP_ROUTE, INFERENCE_SERVICE
from components.cluster.traffic import Placement, traffic_of
from components.rollout_model.evidence import LogEvidence, PrometheusEvidence, Versions
from components.rollout_model.guards import GuardConfig
from components.rollout_model.rollout import Rollout, RolloutPlan, Stopped
from components.shared.bundle import BundleFacts, sign, write_manifest
from components.shared.errors import ShoprankError
from components.shared.registry import Registry
from components.shared.signing import load_or_create_key
from components.validate_serving.predictor import PredictorConfig
from serving.tests.handmade import AS_OF, write_golden
from tests.cluster.faults import told
from tests.cluster.kserve_controller import Controller, eventually
from tests.cluster.prometheus import scraping

pytestmark = [pytest.mark.filterwarnings("ignore:Unverified HTTPS request"), pytest.mark.slow]

GUARDS = GuardConfig(
    min_sample=40, min_duration_s=1.0, max_duration_s=25.0, error_tolerance=10.0, slow_tolerance=45.0,
    empty_tolerance=10.0, negligible=0.3, min_overlap=0.2,
)  # fmt: skip


class Shop:
    """A namespace with a champion that serves, a candidate in the registry, and shoppers who ask."""

    def __init__(self, root, cluster, mode="Standard", gateway=""):
        self.registry, self.cluster, self.gateway = Registry(root), cluster, gateway
        self.spec = ServiceSpec(model="handmade", mode=mode)
        self.champion = self.registry.aliases("handmade")["champion"]
        self.logs = root / "inference-log"
        self.logs.mkdir()
        self.kserve = Controller(cluster, lambda uri: self.registry.resolve(f"handmade/{Path(uri).name}"))
        words = ("--inference_log", str(self.logs), "--shadow_url", self.kserve.candidate.url)
        self.kserve.config = PredictorConfig(clock="system", further=words)
        self._over = threading.Event()
        self._load = threading.Thread(target=self._ask)
        self.answers = {}

    def __enter__(self):
        self.cluster.create(INFERENCE_SERVICE, manifest(self.spec, self.champion))
        self.kserve.__enter__()
        assert eventually(lambda: self.kserve.pod_url("stable"))
        self._load.start()
        assert eventually(lambda: self.answers.get(self.champion, 0) > 5)
        return self

    def __exit__(self, *failure):
        self.quiet()
        self.kserve.__exit__(*failure)

    def quiet(self):
        self._over.set()
        self._load.join()

    def _ask(self):
        with httpx.Client(base_url=self.kserve.front.url, trust_env=False, timeout=10) as client:
            turn = 0
            while not self._over.is_set():
                turn += 1
                request = ({"user_id": "ann", "k": 5}, {"query": "milk", "k": 5}, {"k": 3})[turn % 3]
                said = client.post("/v1/models/shoprank:predict", json={"instances": [request]})
                who = said.json()["predictions"][0]["model_version"] if said.status_code == 200 else "failed"
                self.answers[who] = self.answers.get(who, 0) + 1

    def rollout(self, version, steps=(30, 100), guards=GUARDS, evidence=None):
        urls = {"champion_url": self.kserve.champion.url, "candidate_url": self.kserve.candidate.url}
        placement = Placement(service=self.spec, gateway=self.gateway, ready_s=20, **urls)
        plan = RolloutPlan(steps=steps, guards=guards, poll_s=0.5)
        source = evidence or LogEvidence(self.logs, Versions(self.champion, version))
        return Rollout(self.registry, "handmade", version, plan, traffic_of(self.cluster, placement), source)

    def service(self):
        return self.cluster.get(INFERENCE_SERVICE, "shoprank")

    def served(self):
        return Path(self.service()["spec"]["predictor"]["model"]["storageUri"]).name

    def actions(self):
        return [entry["action"] for entry in self.registry.audit("handmade").entries()]


@pytest.fixture
def shelf(shelves, tmp_path):
    """(registry folder, equal candidate): a copy that may be written."""
    shutil.copytree(shelves[0], tmp_path / "registry")
    return tmp_path / "registry", shelves[2]


def version_of(root, change):
    """One more version: the champion's bundle after `change`, golden requests asked anew."""
    registry = Registry(root)
    folder = root.parent / "changed"
    shutil.copytree(registry.resolve("handmade/champion"), folder)
    (folder / "bundle.sig").unlink()
    change(folder)
    write_golden(folder)
    tasks = ("purchase_again", "purchase_first")
    write_manifest(folder, BundleFacts(name="handmade", as_of=AS_OF, schema_hash="x", tasks=tasks))
    sign(folder, load_or_create_key(root.parent / "key.pem"))
    return registry.add(folder)


def sold_out(folder):
    table = pq.read_table(folder / "items.parquet")
    place = table.schema.get_field_index("available")
    nothing = pa.array([False] * len(table))
    pq.write_table(table.set_column(place, "available", nothing), folder / "items.parquet")


def test_an_equal_candidate_is_promoted_step_by_step_without_a_lost_request(shelf, cluster):
    root, candidate = shelf
    weights = []
    with Shop(root, cluster, gateway="shoprank") as shop:
        rollout = shop.rollout(candidate, (20, 60, 100))
        shift = rollout.traffic.shift

        def shifted(percent):
            shift(percent)
            backends = shop.cluster.get(HTTP_ROUTE, "shoprank")["spec"]["rules"][0]["backendRefs"]
            weights.append({one["name"]: one["weight"] for one in backends})

        rollout.traffic.shift = shifted
        record = rollout.run()
        assert (record.action, record.champion, record.candidate) == ("promoted", shop.champion, candidate)
        assert [percent for percent in (20, 60, 100) if percent in {seen.percent for seen in record.seen}] == [
            20,
            60,
            100,
        ]
        assert shop.served() == candidate == shop.registry.aliases("handmade")["champion"]
        assert "canary" not in shop.service()["spec"]
        assert eventually(lambda: not shop.kserve.pod_url("candidate"))
        overlaps = [value for seen in record.seen for value in seen.interval.overlaps]
        assert overlaps and set(overlaps) == {1.0}, "the shadow's copies, never compared with themselves"
    names = ("shoprank-predictor", "shoprank-candidate-predictor")
    assert weights == [dict(zip(names, pair, strict=True)) for pair in ((80, 20), (40, 60), (0, 100))]
    assert cluster.get(HTTP_ROUTE, "shoprank")["spec"]["rules"][0]["backendRefs"] == [
        {"name": "shoprank-predictor", "port": 80, "weight": 100, "group": "", "kind": "Service"}
    ]
    assert shop.answers.get("failed", 0) == 0 and shop.answers[candidate] >= 80
    assert shop.actions()[-3:] == ["rollout_begin", "promote", "promoted"]
    assert not shop.registry.open_rollout("handmade").exists()


def test_empty_answers_are_seen_and_taken_back(shelf, cluster):
    root, _ = shelf
    candidate = version_of(root, sold_out)
    with Shop(root, cluster) as shop:
        record = shop.rollout(candidate).run()
        assert record.action == "rolled_back" and "empty" in " ".join(record.reasons)
        first = next(seen.time for seen in record.seen if seen.interval.candidate.requests)
        happened = f"rolled back after {record.candidate_requests} of its answers"
        told("candidate answers nothing, at 30 % of the traffic", happened, record.moved - first)
        assert shop.served() == shop.champion == shop.registry.aliases("handmade")["champion"]
        assert "canary" not in shop.service()["spec"] and record.moved - record.decided < 5
        assert eventually(lambda: shop.kserve.percent == 0)
    assert shop.actions()[-2:] == ["rollout_begin", "rolled_back"]
    entry = shop.registry.audit("handmade").entries()[-1]
    assert entry["version"] == candidate and entry["reasons"] == list(record.reasons)


def test_a_candidate_that_crashes_under_traffic_goes_back(shelf, cluster):
    root, candidate = shelf
    with Shop(root, cluster) as shop:
        rollout = shop.rollout(candidate, guards=GuardConfig(min_sample=10_000, max_duration_s=60, min_duration_s=0))
        killer = threading.Thread(target=lambda: (
            eventually(lambda: shop.answers.get(candidate, 0) > 5), shop.kserve.pod("candidate").process.kill()
        ))  # fmt: skip
        killer.start()
        record = rollout.run()
        killer.join()
    told("candidate's pod killed under traffic", "pods not ready at 3 looks, 0.5 s apart: rolled back",
         record.moved - record.seen[-3].time)  # fmt: skip
    assert record.action == "rolled_back" and "pods are not ready" in record.reasons[0]


def test_a_candidate_that_never_gets_ready_gets_no_traffic(shelf, cluster):
    root, candidate = shelf
    with Shop(root, cluster) as shop:
        shop.kserve.fails_to_load.add(candidate)
        record = shop.rollout(candidate).run()
    told(
        "candidate's bundle cannot be loaded",
        "never got traffic; the candidate is removed",
        record.moved - record.began,
    )
    assert record.action == "rolled_back" and record.reasons[0].startswith("dark launch: ")
    assert "failed to load" in record.reasons[0] and record.seen == () and candidate not in shop.answers


def test_no_data_means_roll_back(shelf, cluster):
    root, candidate = shelf
    with Shop(root, cluster) as shop:
        shop.quiet()
        guards = GuardConfig(min_sample=10, min_duration_s=0, max_duration_s=2)
        record = shop.rollout(candidate, guards=guards).run()
        assert shop.served() == shop.champion
    assert record.action == "rolled_back" and record.candidate_requests == 0


class Killed(Exception):
    """Stands for a process that ends without a word."""


def test_a_killed_step_goes_on_where_it_stood(shelf, cluster):
    root, candidate = shelf
    with Shop(root, cluster) as shop:
        first = shop.rollout(candidate, (20, 60, 100))
        read, looks = first.evidence.read, []

        def dies_in_the_second_step(slow):
            looks.append(first.traffic.percent())
            if looks.count(60) == 2:
                raise Killed
            return read(slow)

        first.evidence.read = dies_in_the_second_step
        with pytest.raises(Killed):
            first.run()
        assert first.traffic.percent() == 60, "nobody tidied up"
        state, again = json.loads(shop.registry.open_rollout("handmade").read_text()), time.time()
        record = shop.rollout(candidate, (20, 60, 100)).run()
        assert record.action == "promoted"
        assert record.began == state["began"] and len(state["seen"]) < len(record.seen)
        told("rollout step killed at 60 %", "the retry went on at 60 % with what was seen before, then promoted",
             next(seen.time for seen in record.seen[len(state["seen"]):]) - again)  # fmt: skip
        assert [seen.to_json() for seen in record.seen[: len(state["seen"])]] == state["seen"]
    assert shop.actions().count("rollout_begin") == 1


def test_a_stopped_step_gives_the_traffic_back(shelf, cluster):
    root, candidate = shelf
    with Shop(root, cluster) as shop:
        rollout = shop.rollout(candidate, guards=GuardConfig(min_sample=10_000, max_duration_s=60, min_duration_s=0))
        stop = threading.Thread(target=lambda: (
            eventually(lambda: shop.answers.get(candidate, 0) > 3), os.kill(os.getpid(), signal.SIGTERM)
        ))  # fmt: skip
        stop.start()
        with pytest.raises(Stopped):
            rollout.run()
        stopped = shop.registry.audit("handmade").entries()[-1]
        told("pipeline run cancelled during a rollout", "all traffic back to the champion, the candidate removed",
             stopped["seconds_to_move"])  # fmt: skip
        stop.join()
        assert "canary" not in shop.service()["spec"] and shop.served() == shop.champion
    assert shop.actions()[-1] == "rolled_back" and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("good", [True, False], ids=["promoted", "rolled-back"])
def test_knative_moves_by_percentage_of_the_newest_revision(shelf, cluster, good):
    root, candidate = shelf
    candidate = candidate if good else version_of(root, sold_out)
    with Shop(root, cluster, "Knative") as shop:
        record = shop.rollout(candidate).run()
        predictor = shop.service()["spec"]["predictor"]
        assert record.action == ("promoted" if good else "rolled_back")
        assert shop.served() == (candidate if good else shop.champion)
        assert "canaryTrafficPercent" not in predictor
        assert "shoprank.example/candidate" not in shop.service()["metadata"]["annotations"]
        assert eventually(lambda: shop.kserve.percent == 0)
    assert shop.answers.get("failed", 0) == 0


def test_prometheus_decides_as_well(shelf, cluster, tmp_path):
    root, _ = shelf
    candidate = version_of(root, sold_out)
    with Shop(root, cluster) as shop:
        targets = [shop.kserve.champion.url.removeprefix("http://"), shop.kserve.candidate.url.removeprefix("http://")]
        with scraping(tmp_path, targets[:1]) as (url, listed):
            listed.write_text(json.dumps([{"targets": targets}]))
            time.sleep(6)
            evidence = PrometheusEvidence(url, Versions(shop.champion, candidate))
            record = shop.rollout(candidate, evidence=evidence).run()
    assert record.action == "rolled_back" and "empty" in " ".join(record.reasons)


def test_plans_that_cannot_be_are_named():
    for steps in ((), (5, 25), (25, 5, 100), (0, 100)):
        with pytest.raises(ShoprankError, match="steps are"):
            RolloutPlan(steps=steps)
    with pytest.raises(ShoprankError, match="poll_s is 0"):
        RolloutPlan(poll_s=0)
