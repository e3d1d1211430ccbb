"""Release on KServe: updates the InferenceService, checks golden requests through its URL, reverts on failure."""

import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path

from components.shared.cluster.api import Cluster, Manifest, connect
from components.shared.cluster.inference_service import (
    VERSION_ANNOTATION,
    ServiceSpec,
    address,
    check_mode,
    is_ready,
    manifest,
    served_model,
    wait_ready,
)
from components.shared.cluster.kinds import INFERENCE_SERVICE
from components.shared.errors import ClusterError, ServingError
from components.shared.features.spec import FeatureSpec
from components.shared.release.golden import read_golden
from components.shared.release.registry import PREVIOUS, Registry
from components.shared.telemetry.endpoint import Endpoint, endpoint


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
        registry: folder of the registry. target: the service. cluster: connected on first use.
    """

    registry: Path
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
        registry.rollback(name)
        self._log(name, "rollback_served", version=previous, replaced=failed,
                  seconds=round(time.monotonic() - started, 2))  # fmt: skip
        return previous

    def _cluster(self) -> Cluster:
        if self.cluster is None:
            self.cluster = connect(self.target.context, self.target.namespace)
        return self.cluster

    def _version(self, service: Manifest) -> str:
        """Version of the stable predictor, from its storageUri instead of the annotation."""
        model = service["spec"]["predictor"].get("model", {})
        return self.target.service.version_of(model.get("storageUri", ""))

    def _write(self, version: str) -> Manifest:
        """Create the service, or let its stable predictor serve only `version`; no change if it already does."""
        spec, cluster = self.target.service, self._cluster()
        if cluster.find(INFERENCE_SERVICE, spec.name) is None:
            return cluster.create(INFERENCE_SERVICE, manifest(spec, version))

        def change(present: Manifest) -> Manifest | None:
            check_mode(present, spec)
            split = present["spec"].get("canary") or "canaryTrafficPercent" in present["spec"]["predictor"]
            recorded = present["metadata"].get("annotations", {}).get(VERSION_ANNOTATION)
            if self._version(present) == recorded == version and not split:
                return None
            stable = {"model": served_model(spec, version), "canaryTrafficPercent": None}
            return {
                "metadata": {"annotations": {VERSION_ANNOTATION: version}},
                "spec": {"predictor": stable, "canary": None},
            }

        return cluster.update(INFERENCE_SERVICE, spec.name, change)

    def _verify(self, name: str, version: str, written: Manifest) -> None:
        """Wait until the written generation is ready and check the golden requests of the version."""
        spec, cluster = self.target.service, self._cluster()
        generation = written["metadata"].get("generation", 0)
        ready = wait_ready(cluster, spec.name, generation, self.target.ready_s)
        bundle = Registry(self.registry).resolve(f"{name}/{version}")
        url = self.target.url or address(ready)
        if not url:
            raise ServingError(f"InferenceService {spec.name} has no address", "check its status, or give the url")
        with endpoint(url, spec.name) as deployed:
            _wait_for_version(deployed, version, self.target.settle_s)
            deployed.replay(read_golden(bundle), now=FeatureSpec.read(bundle / "spec.json").as_of, version=version)
        # A pod may crash under its first requests, so the service must still be ready after the answers.
        if not is_ready(cluster.get(INFERENCE_SERVICE, spec.name)):
            wait_ready(cluster, spec.name, generation, self.target.ready_s)

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


def _wait_for_version(deployed: Endpoint, version: str, seconds: float) -> None:
    """Wait for the end of a rolling update, as pods of the previous version answer until they are gone."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(ServingError):
            if deployed.version() == version:
                return
        time.sleep(0.5)
