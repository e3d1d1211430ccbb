"""Traffic split between champion and candidate: KServe's Standard mode (`spec.canary[]`) and Knative mode.

Methods are idempotent: after a crash, calling one again resumes from the current state.
"""

from dataclasses import dataclass
from typing import Protocol

from components.shared.cluster.api import Cluster, Manifest
from components.shared.cluster.inference_service import (
    VERSION_ANNOTATION,
    ServiceSpec,
    address,
    check_mode,
    is_ready,
    predictor,
    served_model,
    wait_ready,
)
from components.shared.cluster.kinds import HTTP_ROUTE, INFERENCE_SERVICE
from components.shared.errors import ServingError

CANDIDATE = "candidate"
"""Name of the candidate's predictor in Standard mode, and of the annotation with its version in both."""
CANDIDATE_ANNOTATION = f"shoprank.example/{CANDIDATE}"


class Traffic(Protocol):
    """A service whose traffic can be split between a champion and a candidate."""

    def champion(self) -> str:
        """Version of the stable predictor."""
        ...

    def candidate(self) -> str:
        """Version of the candidate, '' if there is none."""
        ...

    def percent(self) -> int:
        """Percentage of live traffic that the candidate gets."""
        ...

    def launch(self, version: str) -> None:
        """Start `version` as the candidate at 0 % and wait until it is ready."""
        ...

    def urls(self) -> tuple[str, str]:
        """Separate addresses of the champion and the candidate."""
        ...

    def ready(self) -> bool:
        """Whether the candidate's pods are up; failures of requests without a pod appear in no metrics."""
        ...

    def shift(self, percent: int) -> None:
        """Set the candidate's percentage of live traffic."""
        ...

    def promote(self) -> None:
        """Make the candidate the stable version with all traffic, without downtime."""
        ...

    def abort(self) -> None:
        """Return all traffic to the champion, then remove the candidate."""
        ...


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Settings for reaching and splitting the traffic of a service."""

    service: ServiceSpec
    """The InferenceService."""
    gateway: str = ""
    """Gateway of the HTTPRoute that splits traffic in Standard mode; '' leaves it to KServe itself (after 0.20)."""
    ready_s: float = 600.0
    """Timeout for a predictor to become ready, in seconds."""
    champion_url: str = ""
    """Address of the champion from outside the cluster; '' uses the address inside."""
    candidate_url: str = ""
    """The same for the candidate."""


def traffic_of(cluster: Cluster, placement: Placement) -> Traffic:
    """Return the Traffic implementation for the service's mode.

    Raises:
        MissingObject: the InferenceService does not exist.
        InputError: the service is in another mode, or serves another model.
    """
    check_mode(cluster.get(INFERENCE_SERVICE, placement.service.name), placement.service)
    kind = StandardTraffic if placement.service.mode == "Standard" else KnativeTraffic
    return kind(cluster, placement)


class _ServiceTraffic:
    """Base of both modes: reads and writes the service and the versions in its annotations."""

    def __init__(self, cluster: Cluster, placement: Placement):
        self._cluster, self._placement, self._spec = cluster, placement, placement.service

    def champion(self) -> str:
        """See Traffic."""
        return self._annotation(VERSION_ANNOTATION)

    def candidate(self) -> str:
        """See Traffic."""
        return self._annotation(CANDIDATE_ANNOTATION)

    def _annotation(self, name: str) -> str:
        return self._present()["metadata"].get("annotations", {}).get(name, "")

    def _present(self) -> Manifest:
        return self._cluster.get(INFERENCE_SERVICE, self._spec.name)

    def _write(self, spec: Manifest, annotations: Manifest | None = None) -> Manifest:
        """Patch the current object; null removes a field."""
        body = {"spec": spec} | ({"metadata": {"annotations": annotations}} if annotations else {})
        return self._cluster.update(INFERENCE_SERVICE, self._spec.name, lambda _: body)

    def _wait(self, written: Manifest, kind: str = "Ready") -> Manifest:
        generation = written["metadata"].get("generation", 0)
        return wait_ready(self._cluster, self._spec.name, generation, self._placement.ready_s, kind)


class StandardTraffic(_ServiceTraffic):
    """KServe 0.20's `spec.canary[]`, with weights in an HTTPRoute if there is a Gateway."""

    def percent(self) -> int:
        """See Traffic."""
        canaries = self._present()["spec"].get("canary") or [{"trafficPercent": 0}]
        return canaries[0]["trafficPercent"]

    def launch(self, version: str) -> None:
        """See Traffic.

        Raises:
            ServingError: the candidate was not ready in time.
        """
        if not (self.candidate() == version and self._present()["spec"].get("canary")):
            self._write({"canary": [self._canary(version, 0)]}, {CANDIDATE_ANNOTATION: version})
        self._set_weights(self.percent())
        self._wait(self._present(), "CanaryReady")

    def urls(self) -> tuple[str, str]:
        """See Traffic."""
        base = f"{self._cluster.namespace}.svc.cluster.local"
        return (
            self._placement.champion_url or f"http://{self._stable_service}.{base}",
            self._placement.candidate_url or f"http://{self._candidate_service}.{base}",
        )

    def ready(self) -> bool:
        """See Traffic."""
        return is_ready(self._present(), "CanaryReady")

    def shift(self, percent: int) -> None:
        """See Traffic."""
        self._write({"canary": [self._canary(self.candidate(), percent)]})
        self._set_weights(percent)

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
        self._wait(self._write(self._stable(version)))
        self._set_weights(0)
        # The annotation is removed last, because retries and rollbacks need the old champion.
        self._write({"canary": None}, {VERSION_ANNOTATION: version, CANDIDATE_ANNOTATION: None})

    def abort(self) -> None:
        """See Traffic.

        Raises:
            ServingError: a promotion was under way and the champion was not ready in time; the candidate still serves.
        """
        champion = self.champion()
        if self._present()["spec"]["predictor"]["model"]["storageUri"] != self._spec.uri(champion):
            self._wait(self._write(self._stable(champion)))
        self._set_weights(0)
        if self.candidate() or self._present()["spec"].get("canary"):
            self._write({"canary": None}, {CANDIDATE_ANNOTATION: None})

    @property
    def _stable_service(self) -> str:
        return f"{self._spec.name}-predictor"

    @property
    def _candidate_service(self) -> str:
        return f"{self._spec.name}-{CANDIDATE}-predictor"

    def _stable(self, version: str) -> Manifest:
        return {"predictor": {"model": served_model(self._spec, version)}}

    def _canary(self, version: str, percent: int) -> Manifest:
        # A canary has a fixed number of pods, no autoscaler; the CRD requires the container's name (kserve 0.20).
        own = {key: value for key, value in predictor(self._spec, version).items()
               if key not in ("scaleMetric", "scaleTarget", "maxReplicas")}  # fmt: skip
        own["model"]["name"] = "kserve-container"
        return {"trafficPercent": percent, "predictor": {"name": CANDIDATE, **own}}

    def _set_weights(self, percent: int) -> None:
        """Set the weights of the HTTPRoute, creating it if necessary."""
        if not self._placement.gateway:
            return
        weights = {self._stable_service: 100 - percent} | ({self._candidate_service: percent} if percent else {})
        backends = [{"name": name, "port": 80, "weight": weight} for name, weight in weights.items()]
        spec = {"parentRefs": [{"name": self._placement.gateway}], "rules": [{"backendRefs": backends}]}
        if self._cluster.find(HTTP_ROUTE, self._spec.name) is not None:
            self._cluster.update(HTTP_ROUTE, self._spec.name, lambda _: {"spec": spec})
            return
        labels = {"app.kubernetes.io/part-of": "shoprank"}
        self._cluster.create(HTTP_ROUTE, {
            "apiVersion": HTTP_ROUTE.api_version, "kind": HTTP_ROUTE.kind,
            "metadata": {"name": self._spec.name, "labels": labels}, "spec": spec,
        })  # fmt: skip


class KnativeTraffic(_ServiceTraffic):
    """Knative revisions by `predictor.canaryTrafficPercent`; the newest revision is the candidate."""

    def percent(self) -> int:
        """See Traffic."""
        return self._present()["spec"]["predictor"].get("canaryTrafficPercent", 0) if self.candidate() else 0

    def launch(self, version: str) -> None:
        """See Traffic.

        Raises:
            ServingError: the candidate was not ready in time.
        """
        if self.candidate() != version:
            self._write(self._revision(version, 0), {CANDIDATE_ANNOTATION: version})
        self._wait(self._present())

    def urls(self) -> tuple[str, str]:
        """See Traffic; needs the annotation `serving.kserve.io/enable-tag-routing`.

        Raises:
            ServingError: the status has no address for one of them.
        """
        if self._placement.champion_url and self._placement.candidate_url:
            return self._placement.champion_url, self._placement.candidate_url
        present = self._present()
        routes = present.get("status", {}).get("components", {}).get("predictor", {}).get("traffic", [])
        tagged = {route["tag"]: route["url"] for route in routes if route.get("tag") and route.get("url")}
        if "latest" not in tagged:
            raise ServingError(
                f"InferenceService {self._spec.name} has no address for its newest revision",
                "annotate it with serving.kserve.io/enable-tag-routing: 'true'",
            )
        return tagged.get("prev") or address(present), tagged["latest"]

    def ready(self) -> bool:
        """See Traffic."""
        return is_ready(self._present())

    def shift(self, percent: int) -> None:
        """See Traffic."""
        self._write({"predictor": {"canaryTrafficPercent": percent}})

    def promote(self) -> None:
        """See Traffic; without a percentage the newest ready revision gets all traffic.

        Raises:
            ServingError: the service was not ready in time.
        """
        version = self.candidate()
        if not version:
            return
        self._wait(self._write({"predictor": {"canaryTrafficPercent": None}}))
        # The annotations are removed last, because retries and rollbacks need the old champion.
        self._write({}, {VERSION_ANNOTATION: version, CANDIDATE_ANNOTATION: None})

    def abort(self) -> None:
        """See Traffic.

        The percentage is removed last: without one the newest *ready* revision gets all traffic, which would be the
        candidate until the champion's model is the newest revision again.

        Raises:
            ServingError: the champion's revision was not ready in time; it has all traffic already.
        """
        if not self.candidate():
            return
        self.shift(0)
        self._wait(self._write(self._revision(self.champion(), 0)))
        self._write({"predictor": {"canaryTrafficPercent": None}}, {CANDIDATE_ANNOTATION: None})

    def _revision(self, version: str, percent: int) -> Manifest:
        return {"predictor": {"model": served_model(self._spec, version), "canaryTrafficPercent": percent}}
