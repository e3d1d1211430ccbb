"""Which versions an InferenceService serves and should serve, in annotations of a Lease beside it.

Not in annotations of the InferenceService: KServe copies those to pod templates, so a note would restart the champion.
"""

from dataclasses import dataclass

from components.shared.cluster.api import Cluster, Manifest
from components.shared.cluster.inference_service import ServiceSpec
from components.shared.cluster.kinds import INFERENCE_SERVICE, LEASE

CHAMPION_NOTE = "shoprank.example/version"
CANDIDATE_NOTE = "shoprank.example/candidate"
MINIMUM_NOTE = "shoprank.example/min-replicas"


@dataclass(frozen=True)
class Versions:
    """Versions of a service.

    Attributes:
        champion: that should have the traffic. candidate: of a rollout that has not ended, '' without one.
        min_replicas: minimum of pods of the champion outside of a rollout; 0: as it is.
    """

    champion: str
    candidate: str = ""
    min_replicas: int = 0


def lease_name(service: str) -> str:
    """Name of the Lease of an InferenceService."""
    return f"{service}-release"


def read_versions(cluster: Cluster, spec: ServiceSpec) -> Versions:
    """The noted versions; without a note, as for a service from a manifest, the version of the stable predictor.

    Raises:
        MissingObject: there is no InferenceService.
        ClusterError: the API rejected a request or is unavailable.
    """
    lease = cluster.find(LEASE, lease_name(spec.name))
    notes = (lease or {}).get("metadata", {}).get("annotations") or {}
    champion = notes.get(CHAMPION_NOTE) or spec.version_of(stable_uri(cluster.get(INFERENCE_SERVICE, spec.name)))
    return Versions(champion, notes.get(CANDIDATE_NOTE, ""), int(notes.get(MINIMUM_NOTE, "0")))


def note_versions(cluster: Cluster, spec: ServiceSpec, versions: Versions) -> None:
    """Write the versions; the Lease is removed with its InferenceService.

    Raises:
        MissingObject: there is no InferenceService.
        ClusterError: the API rejected a request or is unavailable.
    """
    notes = {CHAMPION_NOTE: versions.champion, CANDIDATE_NOTE: versions.candidate or None,
             MINIMUM_NOTE: str(versions.min_replicas) if versions.min_replicas else None}  # fmt: skip
    name = lease_name(spec.name)
    if cluster.find(LEASE, name) is not None:
        cluster.update(LEASE, name, lambda _: {"metadata": {"annotations": notes}})
        return
    cluster.create(LEASE, {
        "apiVersion": LEASE.api_version, "kind": LEASE.kind,
        "metadata": {
            "name": name, "labels": {"app.kubernetes.io/part-of": "shoprank"},
            "annotations": {key: value for key, value in notes.items() if value},
            "ownerReferences": [owner(cluster.get(INFERENCE_SERVICE, spec.name))],
        },
        "spec": {},
    })  # fmt: skip


def stable_uri(service: Manifest) -> str:
    """`storageUri` of the stable predictor."""
    return service["spec"]["predictor"].get("model", {}).get("storageUri", "")


def owner(service: Manifest) -> Manifest:
    """An owner reference: the object that has it is removed with the InferenceService."""
    return {"apiVersion": INFERENCE_SERVICE.api_version, "kind": INFERENCE_SERVICE.kind,
            "name": service["metadata"]["name"], "uid": service["metadata"]["uid"]}  # fmt: skip
