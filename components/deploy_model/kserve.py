"""Release on KServe: updates the InferenceService, checks golden requests through its URL, reverts on failure."""

import time
from dataclasses import dataclass, field

from components.shared.cluster.api import Cluster, Manifest, connect
from components.shared.cluster.inference_service import (
    ServiceSpec,
    address,
    check_mode,
    manifest,
    served_model,
    wait_ready,
)
from components.shared.cluster.kinds import INFERENCE_SERVICE
from components.shared.cluster.predictor_pods import Predictor, wait_until_serving
from components.shared.cluster.route import Route, stable_service
from components.shared.cluster.standard import end_candidate
from components.shared.cluster.versions import Versions, note_versions, stable_uri
from components.shared.errors import ClusterError, ServingError
from components.shared.features.spec import FeatureSpec
from components.shared.release.golden import read_golden
from components.shared.release.registry import PREVIOUS, Registry, Root
from components.shared.telemetry.endpoint import endpoint


@dataclass(frozen=True, kw_only=True)
class KServeTarget:
    """Service and timeouts of a release on KServe."""

    service: ServiceSpec
    """The InferenceService."""
    namespace: str = ""
    """Namespace; '' means the pod's own or the kubeconfig's."""
    context: str = ""
    """Context of the kubeconfig; '' means the pod's cluster or the current context."""
    url: str = ""
    """Address of the service from outside the cluster; '' uses the address in its status."""
    ready_s: float = 900.0
    """Timeout for a version to become ready, in seconds."""
    settle_s: float = 60.0
    """Further timeout until pods of the previous version no longer answer, in seconds."""


@dataclass
class KServeBackend:
    """The Backend of an InferenceService.

    Attributes:
        registry: folder or URI of the registry. target: the service. cluster: connected on first use.
    """

    registry: Root
    target: KServeTarget
    cluster: Cluster | None = field(default=None)

    def current(self, name: str) -> str:
        """See Backend."""
        service = self._cluster().find(INFERENCE_SERVICE, self.target.service.name)
        return self._version(service) if service else ""

    def release(self, name: str, version: str) -> None:
        """See Backend; a version that fails its golden requests is reverted.

        Raises:
            ServingError: it was not ready or failed its golden requests; the previous version was restored.
            ClusterError: the API rejected a request or is unavailable.
        """
        started, before = time.monotonic(), self.current(name)
        changed = before != version
        try:
            self._verify(name, version, self._write(version))
            note_versions(self._cluster(), self.target.service, Versions(version))
        except (ServingError, ClusterError) as error:
            if changed:
                self._revert(name, version, before, error)
            raise
        registry = Registry(self.registry)
        registry.promote(name, version)
        if changed:
            self._log(name, "deploy", version=version, replaced=before, seconds=round(time.monotonic() - started, 2))

    def rollback(self, name: str) -> str:
        """See Backend.

        Raises:
            RegistryError: there is no previous version.
            ServingError: it was not ready in time or failed its golden requests.
        """
        registry = Registry(self.registry)
        previous = registry.aliases(name).get(PREVIOUS)
        if previous is None:
            return registry.rollback(name)
        started, failed = time.monotonic(), self.current(name)
        self._verify(name, previous, self._write(previous))
        note_versions(self._cluster(), self.target.service, Versions(previous))
        registry.rollback(name)
        self._log(name, "rollback_served", version=previous, replaced=failed,
                  seconds=round(time.monotonic() - started, 2))  # fmt: skip
        return previous

    def _cluster(self) -> Cluster:
        if self.cluster is None:
            self.cluster = connect(self.target.context, self.target.namespace)
        return self.cluster

    def _version(self, service: Manifest) -> str:
        """Version of the stable predictor."""
        return self.target.service.version_of(stable_uri(service))

    def _write(self, version: str) -> Manifest:
        """Create the service, or let its stable predictor serve only `version`; no change if it already does."""
        spec, cluster = self.target.service, self._cluster()
        present = cluster.find(INFERENCE_SERVICE, spec.name)
        if present is None:
            return cluster.create(INFERENCE_SERVICE, manifest(spec, version))
        check_mode(present, spec)
        # An interrupted rollout may have left weights for a candidate, and the candidate.
        Route(cluster, spec.name).set(0)
        split = present["spec"].get("canary") or "canaryTrafficPercent" in present["spec"]["predictor"]
        if self._version(present) == version and not split:
            return present
        return end_candidate(cluster, spec, {"model": served_model(spec, version), "canaryTrafficPercent": None})

    def _verify(self, name: str, version: str, written: Manifest) -> None:
        """Wait until every pod serves the version, check its golden requests, and look at the pods again."""
        inside = self._wait(version, written)
        bundle = Registry(self.registry).resolve(f"{name}/{version}")
        with endpoint(self.target.url or inside, self.target.service.name) as deployed:
            deployed.wait_for_version(version, self.target.settle_s)
            deployed.replay(read_golden(bundle), now=FeatureSpec.read(bundle / "spec.json").as_of, version=version)
        # A pod may crash under its first requests.
        self._wait(version, written)
        Route(self._cluster(), self.target.service.name).check(version)

    def _wait(self, version: str, written: Manifest) -> str:
        """Wait until the stable predictor serves a version, and return its address inside the cluster."""
        spec, cluster = self.target.service, self._cluster()
        if spec.mode == "Knative":
            ready = wait_ready(cluster, spec.name, written["metadata"].get("generation", 0), self.target.ready_s)
            return address(ready)
        deployment = stable_service(spec.name)
        wanted = Predictor(service=spec.name, deployment=deployment, uri=spec.uri(version), version=version)
        wait_until_serving(cluster, wanted, self.target.ready_s)
        return f"http://{deployment}.{cluster.namespace}.svc.cluster.local"

    def _revert(self, name: str, version: str, before: str, error: ServingError | ClusterError) -> None:
        # A rejected write (quota, webhook) changed nothing, so only the failure is recorded and nothing is reverted.
        if self.current(name) != before:
            if before:
                self._write(before)
            else:
                self._cluster().delete(INFERENCE_SERVICE, self.target.service.name)
        self._log(name, "deploy_failed", version=version, restored=before, why=error.headline)

    def _log(self, name: str, action: str, **facts: str | float) -> None:
        service = {"service": self.target.service.name, "namespace": self._cluster().namespace}
        Registry(self.registry).audit(name).append(action, **service, **facts)
