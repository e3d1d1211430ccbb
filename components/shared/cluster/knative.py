"""Traffic split in KServe's Knative mode: revisions and `predictor.canaryTrafficPercent`."""

from components.shared.cluster.api import Cluster, Manifest
from components.shared.cluster.inference_service import address, is_ready, served_model, wait_ready
from components.shared.cluster.kinds import INFERENCE_SERVICE
from components.shared.cluster.traffic import Placement
from components.shared.cluster.versions import Versions, note_versions, read_versions
from components.shared.errors import ServingError


class KnativeTraffic:
    """See traffic.Traffic; the newest revision is the candidate.

    Args:
        cluster: Namespace of the service.
        placement: The service.
    """

    def __init__(self, cluster: Cluster, placement: Placement):
        self._cluster, self._placement, self._spec = cluster, placement, placement.service

    def champion(self) -> str:
        """See Traffic."""
        return read_versions(self._cluster, self._spec).champion

    def candidate(self) -> str:
        """See Traffic."""
        return read_versions(self._cluster, self._spec).candidate

    def percent(self) -> int:
        """See Traffic."""
        return self._present()["spec"]["predictor"].get("canaryTrafficPercent", 0) if self.candidate() else 0

    def launch(self, version: str) -> None:
        """See Traffic.

        Raises:
            ServingError: the candidate was not ready in time.
        """
        if self.candidate() != version:
            note_versions(self._cluster, self._spec, Versions(self.champion(), version))
            self._write(self._revision(version, 0))
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
        # Noted last, because retries and rollbacks need the old champion.
        note_versions(self._cluster, self._spec, Versions(version))

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
        self._write({"predictor": {"canaryTrafficPercent": None}})
        note_versions(self._cluster, self._spec, Versions(self.champion()))

    def _revision(self, version: str, percent: int) -> Manifest:
        return {"predictor": {"model": served_model(self._spec, version), "canaryTrafficPercent": percent}}

    def _present(self) -> Manifest:
        return self._cluster.get(INFERENCE_SERVICE, self._spec.name)

    def _write(self, spec: Manifest) -> Manifest:
        """Patch the current object; null removes a field."""
        return self._cluster.update(INFERENCE_SERVICE, self._spec.name, lambda _: {"spec": spec})

    def _wait(self, written: Manifest) -> Manifest:
        generation = written["metadata"].get("generation", 0)
        return wait_ready(self._cluster, self._spec.name, generation, self._placement.ready_s)
