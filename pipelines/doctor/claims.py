"""Needs of the registry's volume: a claim in each namespace, and both on the same storage."""

from typing import Any

from components.shared.cluster.api import Manifest
from components.shared.errors import MissingObject
from pipelines.doctor.needs import Need, Undecided, Unmet
from pipelines.doctor.reading import Reader
from pipelines.resources import REGISTRY_VOLUME

_CLAIMS = "persistentvolumeclaims"
_ANY_SOURCE = {
    "accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity", "persistentVolumeReclaimPolicy",
    "storageClassName", "volumeAttributesClassName", "volumeMode",
}  # fmt: skip
"""Fields of a PersistentVolume's `spec` that do not say where its data is."""
_EXAMPLE = "manifests/overlays/kind/shoprank/registry-folder.yaml"


def claim(reader: Reader, place: str, install: str) -> Need:
    """The registry's claim of a namespace."""

    def judge(found: Manifest) -> str:
        phase, modes = found["status"]["phase"], ", ".join(found["spec"]["accessModes"])
        event = reader.last_event(place, REGISTRY_VOLUME) if phase != "Bound" else ""
        # A class that binds late waits for the first pod; anything else waits for ever, and so does the step.
        if phase != "Bound" and not event.startswith("WaitForFirstConsumer"):
            raise Unmet(f"{phase}: {event or 'no volume is bound to it'}", _unbound(found, place))
        return f"{phase}, {modes}{'' if 'ReadWriteMany' in modes else ': all its pods must run on one node'}"

    return Need(
        name=f"claim {REGISTRY_VOLUME}", namespace=place, judge=judge, fix=install,
        read=lambda: reader.core(place, _CLAIMS, REGISTRY_VOLUME),
    )  # fmt: skip


def shared_volume(reader: Reader, steps: str, serving: str) -> Need:
    """Whether both claims hold the same data: two volumes may be one folder of a server, one volume has one claim."""

    def read() -> list[tuple[str, dict[str, Any]]]:
        names = [_volume_of(reader, place) for place in (steps, serving)]
        return [(name, reader.volume(name)["spec"] if name else {}) for name in names]

    def judge(found: list[tuple[str, dict[str, Any]]]) -> str:
        (first, of_steps), (second, of_predictors) = found
        if not (first and second):
            raise Undecided("both claims must exist and be bound first")
        if not same_storage(of_steps, of_predictors):
            raise Unmet(
                f"volume {second} is other storage than {first} of {steps}: predictors would find no bundle there"
            )
        return f"{first} and {second} are the same storage"

    return Need(
        name="one registry for both claims", namespace=serving, read=read, judge=judge,
        fix=f"give each claim a PersistentVolume of the same folder (nfs, csi) as {_EXAMPLE} does, deploy to the "
            f"namespace of the steps (--serving-namespace {steps}), or keep the registry in an object store "
            "(registry=s3://BUCKET/PREFIX, --object-store)",
    )  # fmt: skip


def same_storage(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two `spec`s of PersistentVolumes name the same data; of CSI also by the same folder of a server."""
    sources = [{key: value for key, value in spec.items() if key not in _ANY_SOURCE} for spec in (one, other)]
    if sources[0] == sources[1]:
        return True
    first, second = (source.get("csi", {}) for source in sources)
    places = [
        {key: text for key, text in csi.get("volumeAttributes", {}).items() if not key.startswith("storage.kubernetes")}
        for csi in (first, second)
    ]  # fmt: skip
    same_handle = first.get("volumeHandle") == second.get("volumeHandle")
    same_folder = "server" in places[0] and places[0] == places[1]
    return bool(first and second) and first.get("driver") == second.get("driver") and (same_handle or same_folder)


def _volume_of(reader: Reader, place: str) -> str:
    """The volume of a namespace's claim, '' if it has none or there is no claim."""
    try:
        return reader.core(place, _CLAIMS, REGISTRY_VOLUME)["spec"].get("volumeName", "")
    except MissingObject:
        return ""


def _unbound(found: Manifest, place: str) -> str:
    """What to do with a claim that nothing binds."""
    if found["spec"].get("storageClassName"):
        return (
            f"look at the events of the claim and at its class; without a provisioner make a PersistentVolume, as "
            f"{_EXAMPLE} does:\nkubectl -n {place} describe persistentvolumeclaim {REGISTRY_VOLUME}"
        )
    patch = '{"spec":{"storageClassName":"STORAGE_CLASS"}}'
    return (
        "the claim has no storage class and the cluster no default one; choose a class with ReadWriteMany "
        f"(without one make a PersistentVolume, as {_EXAMPLE} does):\n"
        "kubectl get storageclass\n"
        f"kubectl -n {place} patch persistentvolumeclaim {REGISTRY_VOLUME} --type=merge -p '{patch}'"
    )
