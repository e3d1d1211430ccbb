"""A namespace of the platform whose champion serves, candidates in its registry, and clients that send requests."""

import shutil
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq

from components.deploy_model.kserve import KServeBackend, KServeTarget
from components.rollout_model.evidence import LogEvidence, Versions
from components.rollout_model.guards import GuardConfig
from components.rollout_model.rollout import Rollout, RolloutPlan
from components.shared.cluster.inference_service import ServiceSpec
from components.shared.cluster.kinds import HTTP_ROUTE, INFERENCE_SERVICE
from components.shared.cluster.lease import RolloutLease
from components.shared.cluster.modes import traffic_of
from components.shared.cluster.route import Route
from components.shared.cluster.traffic import Placement
from components.shared.cluster.versions import stable_uri
from components.shared.release.bundle import BundleFacts, sign, write_manifest
from components.shared.release.registry import Registry
from components.shared.release.signing import load_or_create_key
from components.shared.tests.waiting import eventually
from serving.tests.handmade import AS_OF, write_golden
from tests.cluster.namespaces import Namespace

GUARDS = GuardConfig(
    min_sample=40, min_duration_s=1.0, max_duration_s=40.0, error_tolerance=10.0, slow_tolerance=45.0,
    empty_tolerance=10.0, negligible=0.3, min_overlap=0.2,
)  # fmt: skip


class Shop:
    """One InferenceService in a namespace, behind its Gateway.

    Args:
        namespace: With the registry `registry` in its folder.
        service: Name of the InferenceService.
    """

    def __init__(self, namespace: Namespace, service: str = "shoprank"):
        self.namespace, self.cluster = namespace, namespace.connect()
        self.root = namespace.folder / "registry"
        self.registry = Registry(self.root)
        self.spec = ServiceSpec(name=service, model="handmade", min_replicas=1, max_replicas=2)
        self.backend = KServeBackend(self.root, KServeTarget(service=self.spec, ready_s=90), self.cluster)
        self.champion = self.registry.aliases("handmade").get("champion", "")

    def deploy(self, version: str) -> None:
        """Release a version directly."""
        self.namespace.share()
        self.backend.release("handmade", version)
        self.champion = version

    def open(self) -> str:
        """Let the Gateway lead to the service, and return its address as soon as it answers."""
        Route(self.cluster, self.spec.name, "shoprank").set(self.traffic().percent())
        url = self.namespace.gateway_url()

        def answers() -> bool:
            try:
                return (
                    httpx.get(f"{url}/v2/models/{self.spec.name}/ready", trust_env=False, timeout=5).status_code == 200
                )
            except httpx.TransportError:
                return False

        assert eventually(answers), "the Gateway does not answer"
        return url

    def traffic(self):
        """The service's traffic, as a rollout splits it."""
        return traffic_of(self.cluster, Placement(service=self.spec, gateway="shoprank", ready_s=90))

    def rollout(self, version, steps=(30, 100), guards=GUARDS, evidence=None):
        """A rollout of a version to this service."""
        self.namespace.share()
        plan = RolloutPlan(steps=steps, guards=guards, poll_s=0.5, model=self.spec.name)
        source = evidence or LogEvidence(self.namespace.folder / "inference-log", Versions(self.champion, version))
        return Rollout(
            self.registry, "handmade", version, plan, self.traffic(), source, RolloutLease(self.cluster, self.spec, 10)
        )

    def service(self):
        """The InferenceService."""
        return self.cluster.get(INFERENCE_SERVICE, self.spec.name)

    def weights(self) -> dict[str, int]:
        """Weights of the route by Service."""
        route = self.cluster.get(HTTP_ROUTE, Route(self.cluster, self.spec.name).name)
        return {one["name"]: one["weight"] for one in route["spec"]["rules"][0]["backendRefs"]}

    def served(self) -> str:
        """Version of the stable predictor."""
        return Path(stable_uri(self.service())).name

    def champion_pods(self) -> set[str]:
        """Ids of the pods of the stable predictor."""
        return {pod["metadata"]["uid"] for pod in self.namespace.pods(f"{self.spec.name}-predictor")}

    def actions(self) -> list[str]:
        """Actions of the audit log."""
        return [entry["action"] for entry in self.registry.audit("handmade").entries()]


REQUESTS = ({"user_id": "ann", "k": 5}, {"query": "milk", "k": 5}, {"k": 3})


class Shoppers:
    """Clients that send requests to an address until the end of the context, each the next of `requests`.

    Attributes:
        answers: number of answers by version; failures are counted under their own text.
    """

    def __init__(self, url: str, model: str = "shoprank", clients: int = 4, requests: Sequence[dict] = REQUESTS):
        self.answers, self._requests = Counter[str](), requests
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(url, model, turn)) for turn in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()

    @property
    def failed(self) -> dict[str, int]:
        """Number of requests without an answer, by reason."""
        return {reason: count for reason, count in self.answers.items() if reason.startswith("failed")}

    def _ask(self, url: str, model: str, turn: int) -> None:
        # A candidate that is slow on purpose, beside other tests on two cores, is late and no failure.
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            while not self._over.wait(0.03):  # A shop's traffic; without a pause the shoppers take all of a core.
                turn += 1
                request = self._requests[turn % len(self._requests)]
                try:
                    response = client.post(f"/v1/models/{model}:predict", json={"instances": [request]})
                    response.raise_for_status()
                    self.answers[response.json()["predictions"][0]["model_version"]] += 1
                except httpx.HTTPError as error:
                    self.answers[f"failed: {error!r}"] += 1


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
    """No item can be bought: every answer is empty."""
    table = pq.read_table(folder / "items.parquet")
    column = table.schema.get_field_index("available")
    nothing = pa.array([False] * len(table))
    pq.write_table(table.set_column(column, "available", nothing), folder / "items.parquet")
