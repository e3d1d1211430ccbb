"""Traffic split in KServe's Standard mode: `spec.canary[]` of KServe 0.20, and weights in an HTTPRoute of our own."""

import time

from components.shared.cluster.api import Cluster, Manifest
from components.shared.cluster.inference_service import ServiceSpec, predictor, served_model
from components.shared.cluster.kinds import AUTOSCALER, INFERENCE_SERVICE
from components.shared.cluster.predictor_pods import Predictor, predictor_state, read_deployment, wait_until_serving
from components.shared.cluster.route import CANDIDATE, Route, candidate_service, stable_service
from components.shared.cluster.traffic import Placement
from components.shared.cluster.versions import Versions, note_versions, read_versions, stable_uri

_GONE_S = 15.0
"""Longest time to wait for KServe to end a candidate; what is left of it then has no requests and does no harm."""


class StandardTraffic:
    """See traffic.Traffic.

    Args:
        cluster: Namespace of the service.
        placement: The service and its Gateway.
    """

    def __init__(self, cluster: Cluster, placement: Placement):
        self._cluster, self._placement, self._spec = cluster, placement, placement.service
        self._route = Route(cluster, self._spec.name, placement.gateway)

    def champion(self) -> str:
        """See Traffic."""
        return read_versions(self._cluster, self._spec).champion

    def candidate(self) -> str:
        """See Traffic."""
        return read_versions(self._cluster, self._spec).candidate

    def percent(self) -> int:
        """See Traffic."""
        canaries = self._canaries()
        return canaries[0]["trafficPercent"] if canaries else 0

    def launch(self, version: str) -> None:
        """See Traffic.

        Raises:
            ServingError: the candidate was not ready in time, or never will be.
        """
        present = self._present()
        if not (self.candidate() == version and present["spec"].get("canary")):
            noted = read_versions(self._cluster, self._spec)
            minimum = noted.min_replicas or present["spec"]["predictor"].get("minReplicas", 1)
            note_versions(self._cluster, self._spec, Versions(noted.champion, version, minimum))
            self._route.set(0)
            self._route.check(noted.champion)
            self._write({"canary": [self._canary(version, 0)], "predictor": self._raised(present, minimum)})
        self._wait(candidate_service(self._spec.name), version)

    def urls(self) -> tuple[str, str]:
        """See Traffic."""
        base = f"{self._cluster.namespace}.svc.cluster.local"
        return (
            self._placement.champion_url or f"http://{stable_service(self._spec.name)}.{base}",
            self._placement.candidate_url or f"http://{candidate_service(self._spec.name)}.{base}",
        )

    def ready(self) -> bool:
        """See Traffic."""
        return predictor_state(self._cluster, self._wanted(candidate_service(self._spec.name), self.candidate())).ready

    def shift(self, percent: int) -> None:
        """See Traffic.

        Raises:
            ServingError: the gateway did not accept the weights.
        """
        self._write({"canary": [self._canary(self.candidate(), percent)]})
        self._route.set(percent)
        self._route.check(self.champion(), self.candidate())

    def promote(self) -> None:
        """See Traffic; the candidate has all traffic while the stable predictor is updated to its version.

        Raises:
            ServingError: the stable predictor was not ready in time; the candidate still serves.
        """
        version = self.candidate()
        if not version:
            return
        if self.percent() < 100:
            self.shift(100)
        self._serve_stable(version)
        self._route.set(0)
        end_candidate(self._cluster, self._spec)
        # Noted last, because retries and rollbacks need the old champion.
        note_versions(self._cluster, self._spec, Versions(version))
        self._route.check(version)

    def abort(self) -> None:
        """See Traffic.

        Raises:
            ServingError: a promotion was under way and the champion was not ready in time; the candidate still serves.
        """
        champion = self.champion()
        if stable_uri(self._present()) != self._spec.uri(champion):
            self._serve_stable(champion)
        had_traffic = self.percent() > 0
        self._route.set(0)
        if had_traffic:
            self._route.settle(champion)
        end_candidate(self._cluster, self._spec)
        if self.candidate():
            note_versions(self._cluster, self._spec, Versions(champion))
        self._route.check(champion)

    def _serve_stable(self, version: str) -> None:
        self._write({"predictor": {"model": served_model(self._spec, version)}})
        self._wait(stable_service(self._spec.name), version)

    def _present(self) -> Manifest:
        return self._cluster.get(INFERENCE_SERVICE, self._spec.name)

    def _canaries(self) -> list[Manifest]:
        return self._present()["spec"].get("canary") or []

    def _write(self, spec: Manifest) -> None:
        """Patch the current object; null removes a field."""
        self._cluster.update(INFERENCE_SERVICE, self._spec.name, lambda _: {"spec": spec})

    def _wanted(self, deployment: str, version: str) -> Predictor:
        uri = self._spec.uri(version)
        return Predictor(service=self._spec.name, deployment=deployment, uri=uri, version=version)

    def _wait(self, deployment: str, version: str) -> None:
        wait_until_serving(self._cluster, self._wanted(deployment, version), self._placement.ready_s)

    def _canary(self, version: str, percent: int) -> Manifest:
        # A canary has a fixed number of pods, no autoscaler; the CRD requires the container's name (kserve 0.20).
        own = {key: value for key, value in predictor(self._spec, version).items()
               if key not in ("scaleMetric", "scaleTarget", "maxReplicas")}  # fmt: skip
        own["model"]["name"] = "kserve-container"
        return {"trafficPercent": percent, "predictor": {"name": CANDIDATE, **own}}

    def _raised(self, present: Manifest, minimum: int) -> Manifest:
        """The champion's minimum of pods, so that it stays the same: KServe subtracts the pods of the candidate."""
        wanted = minimum + self._spec.min_replicas
        return {"minReplicas": wanted, "maxReplicas": max(wanted, present["spec"]["predictor"].get("maxReplicas", 0))}


def end_candidate(cluster: Cluster, spec: ServiceSpec, change: Manifest | None = None) -> Manifest:
    """Remove the candidate and give the champion its own minimum of pods again.

    Args:
        cluster: Namespace of the service.
        spec: The service.
        change: Of the stable predictor, written at the same time.

    Returns:
        The InferenceService.
    """
    minimum = read_versions(cluster, spec).min_replicas

    def ended(present: Manifest) -> Manifest | None:
        stable = dict(change or {})
        if minimum and present["spec"].get("canary"):
            stable |= {"minReplicas": minimum, "maxReplicas": max(minimum, spec.max_replicas)}
        found = {"canary": None} if present["spec"].get("canary") else {}
        return {"spec": found | ({"predictor": stable} if stable else {})} if found or stable else None

    written = cluster.update(INFERENCE_SERVICE, spec.name, ended)
    # KServe leaves the candidate's autoscaler behind (0.20), and makes it again while it still looks at the candidate.
    _wait_until_gone(cluster, candidate_service(spec.name))
    cluster.delete(AUTOSCALER, candidate_service(spec.name))
    return written


def _wait_until_gone(cluster: Cluster, deployment: str) -> None:
    """Wait a while until KServe has removed a Deployment."""
    deadline = time.monotonic() + _GONE_S
    while read_deployment(cluster, deployment) and time.monotonic() < deadline:
        time.sleep(0.2)
