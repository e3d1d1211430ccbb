"""Releases versions that passed the release gates and the serving proof, and rolls back."""

from dataclasses import dataclass
from pathlib import Path

from components.deploy_model.backends import Backend, backend_named
from components.deploy_model.kserve import KServeTarget
from components.shared.cluster.inference_service import ServiceSpec
from components.shared.evaluation.decision import read_decision
from components.shared.release.config import ReleaseOptions
from components.shared.release.proof import check_release_gates, read_proof
from components.shared.release.registry import Registry, Root


@dataclass(frozen=True)
class Deployment:
    """Result of a deployment.

    Attributes:
        version: served version. previous: version served before, or ''. changed: False if it was already served.
    """

    version: str
    previous: str
    changed: bool


@dataclass(frozen=True, kw_only=True)
class Release:
    """A version and its release target."""

    registry: Root
    """Folder or s3:// URI of the registry."""
    name: str
    """Model name."""
    version: str
    """A version of the registry."""
    backend: str = "local"
    """See backends.backend_named."""
    target: KServeTarget | None = None
    """Target of the backend kserve."""


def deploy(release: Release, proof: Path, evaluation: Path) -> Deployment:
    """Release a version; idempotent.

    Args:
        release: Version and target.
        proof: Output of validate_serving for this bundle.
        evaluation: Output of evaluate_model with its decision.

    Raises:
        RegistryError: it did not pass the release gates, has no serving proof, or is not registered.
        BundleError: the registered bundle is no longer complete.
        InputError: proof or decision cannot be read, or the backend does not exist.
        ServingError: the service did not become ready or failed its golden requests; the previous version was restored.
        ClusterError: the Kubernetes API rejected a request or is unavailable.
    """
    backend = backend_named(release.backend, release.registry, release.target)
    bundle = Registry(release.registry).resolve(f"{release.name}/{release.version}")
    check_release_gates(bundle, (release.name, release.version), read_decision(evaluation), read_proof(proof))
    return _release(backend, release)


def kserve_target(model: str, release: ReleaseOptions, registry: str = "") -> KServeTarget:
    """Return the InferenceService of a model from the options in section `release`, and an s3:// registry."""
    return KServeTarget(service=ServiceSpec.of(release, model, registry), namespace=release.namespace)


def rollback(registry: Root, name: str, backend: str = "local", target: KServeTarget | None = None) -> Deployment:
    """Serve the previous version again; its bundle includes weights, indexes, feature spec and thresholds.

    Raises:
        RegistryError: there is no previous version.
        ServingError: the previous version did not become ready or failed its golden requests.
        ClusterError: the Kubernetes API rejected a request or is unavailable.
    """
    chosen = backend_named(backend, registry, target)
    failed = chosen.current(name)
    return Deployment(chosen.rollback(name), failed, True)


def _release(backend: Backend, release: Release) -> Deployment:
    before = backend.current(release.name)
    backend.release(release.name, release.version)
    return Deployment(release.version, before, before != release.version)
