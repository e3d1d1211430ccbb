"""A namespace with a champion that serves, a candidate in the registry, and a client that sends requests."""

import shutil
import threading
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq

from components.rollout_model.evidence import LogEvidence, Versions
from components.rollout_model.guards import GuardConfig
from components.rollout_model.rollout import Rollout, RolloutPlan
from components.shared.cluster.inference_service import ServiceSpec, manifest
from components.shared.cluster.kinds import INFERENCE_SERVICE
from components.shared.cluster.traffic import Placement, traffic_of
from components.shared.release.bundle import BundleFacts, sign, write_manifest
from components.shared.release.registry import Registry
from components.shared.release.signing import load_or_create_key
from components.shared.tests.waiting import eventually
from components.validate_serving.predictor import PredictorConfig
from serving.tests.handmade import AS_OF, write_golden
from tests.cluster.kserve_controller import Controller

GUARDS = GuardConfig(
    min_sample=40, min_duration_s=1.0, max_duration_s=25.0, error_tolerance=10.0, slow_tolerance=45.0,
    empty_tolerance=10.0, negligible=0.3, min_overlap=0.2,
)  # fmt: skip


class Shop:
    """A namespace with a champion that serves, a candidate in the registry, and a client that sends requests."""

    def __init__(self, root, cluster, mode="Standard", gateway=""):
        self.registry, self.cluster, self.gateway = Registry(root), cluster, gateway
        self.spec = ServiceSpec(model="handmade", mode=mode)
        self.champion = self.registry.aliases("handmade")["champion"]
        self.logs = root / "inference-log"
        self.logs.mkdir()
        self.kserve = Controller(cluster, lambda uri: self.registry.resolve(f"handmade/{Path(uri).name}"))
        flags = ("--inference_log", str(self.logs), "--shadow_url", self.kserve.candidate.url)
        self.kserve.config = PredictorConfig(clock="system", further=flags)
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
            while not self._over.wait(0.01):  # A shop's traffic; without a pause the shoppers take all of a core.
                turn += 1
                request = ({"user_id": "ann", "k": 5}, {"query": "milk", "k": 5}, {"k": 3})[turn % 3]
                response = client.post("/v1/models/shoprank:predict", json={"instances": [request]})
                version = (
                    response.json()["predictions"][0]["model_version"] if response.status_code == 200 else "failed"
                )
                self.answers[version] = self.answers.get(version, 0) + 1

    def rollout(self, version, steps=(30, 100), guards=GUARDS, evidence=None):
        urls = {"champion_url": self.kserve.champion.url, "candidate_url": self.kserve.candidate.url}
        placement = Placement(service=self.spec, gateway=self.gateway, ready_s=60, **urls)
        plan = RolloutPlan(steps=steps, guards=guards, poll_s=0.5)
        source = evidence or LogEvidence(self.logs, Versions(self.champion, version))
        return Rollout(self.registry, "handmade", version, plan, traffic_of(self.cluster, placement), source)

    def service(self):
        return self.cluster.get(INFERENCE_SERVICE, "shoprank")

    def served(self):
        return Path(self.service()["spec"]["predictor"]["model"]["storageUri"]).name

    def actions(self):
        return [entry["action"] for entry in self.registry.audit("handmade").entries()]


def version_of(root, change):
    """Register another version: the champion's bundle after `change`, with new golden answers."""
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
    column = table.schema.get_field_index("available")
    nothing = pa.array([False] * len(table))
    pq.write_table(table.set_column(column, "available", nothing), folder / "items.parquet")
