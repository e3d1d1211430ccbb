"""Which share of live traffic a candidate gets: KServe's Standard mode (`spec.canary[]`) and Knative mode.

Every method may be called again after a crash in its middle: it reads where things stand and goes on from there.
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
        """Version of the candidate, '' when there is none."""
        ...

    def percent(self) -> int:
        """Share of live traffic that the candidate gets."""
        ...

    def launch(self, version: str) -> None:
        """Start `version` as the candidate at 0 % and wait until it is ready."""
        ...

    def urls(self) -> tuple[str, str]:
        """Addresses that reach the champion and the candidate alone."""
        ...

    def ready(self) -> bool:
        """Whether the candidate's pods are up; requests that reach none are counted by nobody."""
        ...

    def shift(self, percent: int) -> None:
        """Give the candidate this share of live traffic."""
        ...

    def promote(self) -> None:
        """Make the candidate the stable version, with all traffic and without a moment unserved."""
        ...

    def abort(self) -> None:
        """Give all traffic back to the champion, then remove the candidate."""
        ...


@dataclass(frozen=True, kw_only=True)
class Placement:
    """How the traffic of a service is reached and moved."""

    service: ServiceSpec
    """The InferenceService."""
    gateway: str = ""
    """Gateway of the HTTPRoute that splits traffic in Standard mode; '' leaves it to KServe itself (after 0.20)."""
    ready_s: float = 600.0
    """Seconds that a predictor may take to become ready."""
    champion_url: str = ""
    """Address of the champion alone, from outside the cluster; '' is the one inside."""
    candidate_url: str = ""
    """The same of the candidate."""


def traffic_of(cluster: Cluster, placement: Placement) -> Traffic:
    """The service's traffic, in its mode.

    Raises:
        MissingObject: there is no such InferenceService.
        InputError: it is in another mode, or serves another model.
    """
    check_mode(cluster.get(INFERENCE_SERVICE, placement.service.name), placement.service)
    kind = StandardTraffic if placement.service.mode == "Standard" else KnativeTraffic
    return kind(cluster, placement)


class _ServiceTraffic:
    """What both modes share: reading the service, writing it, and the versions in its annotations."""

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
        """Patch the newest state; null removes."""
        body = {"spec": spec} | ({"metadata": {"annotations": annotations}} if annotations else {})
        return self._cluster.update(INFERENCE_SERVICE, self._spec.name, lambda _: body)

    def _wait(self, written: Manifest, kind: str = "Ready") -> Manifest:
        generation = written["metadata"].get("generation", 0)
        return wait_ready(self._cluster, self._spec.name, generation, self._placement.ready_s, kind)


class StandardTraffic(_ServiceTraffic):
    """KServe 0.20's `spec.canary[]`, with the weights of an HTTPRoute of ours where there is a Gateway."""

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
        self._weigh(self.percent())
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
        self._weigh(percent)

    def promote(self) -> None:
        """See Traffic; the candidate keeps all traffic while the stable predictor rolls over to its version.

        Raises:
            ServingError: the stable predictor was not ready in time; the candidate still serves.
        """
        version = self.candidate()
        if not version:
            return
        if self.percent() < 100:
            self.shift(100)
        self._wait(self._write(self._stable(version)))
        self._weigh(0)
        # The annotation goes last: until then a retry, or the way back, knows who the champion was.
        self._write({"canary": None}, {VERSION_ANNOTATION: version, CANDIDATE_ANNOTATION: None})

    def abort(self) -> None:
        """See Traffic.

        Raises:
            ServingError: a promotion had begun and the champion was not ready again in time; the candidate serves.
        """
        champion = self.champion()
        if self._present()["spec"]["predictor"]["model"]["storageUri"] != self._spec.uri(champion):
            self._wait(self._write(self._stable(champion)))
        self._weigh(0)
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
        # A canary has a fixed number of pods, no autoscaler; the CRD wants the container's name said (kserve 0.20).
        own = {key: value for key, value in predictor(self._spec, version).items()
               if key not in ("scaleMetric", "scaleTarget", "maxReplicas")}  # fmt: skip
        own["model"]["name"] = "kserve-container"
        return {"trafficPercent": percent, "predictor": {"name": CANDIDATE, **own}}

    def _weigh(self, percent: int) -> None:
        """Set the weights of our HTTPRoute; made when it does not exist."""
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
            ServingError: the status names no address for one of them.
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
        """See Traffic; without a percentage the newest ready revision gets everything.

        Raises:
            ServingError: the service was not ready in time.
        """
        version = self.candidate()
        if not version:
            return
        self._wait(self._write({"predictor": {"canaryTrafficPercent": None}}))
        # The annotations go last: until then a retry, or the way back, knows who the champion was.
        self._write({}, {VERSION_ANNOTATION: version, CANDIDATE_ANNOTATION: None})

    def abort(self) -> None:
        """See Traffic.

        The percentage goes last: without one the newest *ready* revision gets all traffic, and until the champion's
        own model has become the newest revision again that would be the candidate.

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
