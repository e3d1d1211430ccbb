"""Reads what a run needs from a cluster, without waiting for one that does not answer."""

import socket
from typing import Any
from urllib.parse import urlsplit

from components.shared.cluster.api import Cluster, Manifest, RetryPolicy, connect
from components.shared.cluster.kinds import Kind
from components.shared.errors import ClusterError
from pipelines.doctor.needs import Plan, Unmet
from pipelines.doctor.rights import Right

ONCE = RetryPolicy(connects=1, statuses=1, unknown_kind_s=0.0)
ANSWERS_IN_S = 3.0
CRD = Kind(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", "Kubernetes 1.30",
    namespaced=False,
)  # fmt: skip
REVIEW = Kind("authorization.k8s.io", "v1", "localsubjectaccessreviews", "LocalSubjectAccessReview", "Kubernetes 1.30")


class Reader:
    """Access to a cluster's namespaces.

    Args:
        context: Context of the kubeconfig, '' for the current one.

    Raises:
        InputError: there is no usable kubeconfig.
        ClusterError: the cluster is not reachable.
    """

    def __init__(self, context: str = ""):
        self._first = connect(context, patience=ONCE)
        self._reachable()

    @property
    def address(self) -> str:
        """Address of the API server."""
        return str(self._first.client.configuration.host)

    def close(self) -> None:
        """Close all connections."""
        self._first.close()

    def within(self, namespace: str) -> Cluster:
        """The cluster, for the objects of a namespace."""
        return Cluster(self._first.client, namespace, ONCE)

    def namespace(self, name: str) -> Manifest:
        """A namespace itself."""
        return self.within(name).read("")

    def core(self, namespace: str, plural: str, name: str) -> Manifest:
        """An object of the core API: a Secret, a ConfigMap, a claim."""
        return self.within(namespace).read(f"{plural}/{name}")

    def volume(self, name: str) -> Manifest:
        """A PersistentVolume."""
        return self._first.read(f"/persistentvolumes/{name}")

    def definition(self, kind: Kind) -> Manifest:
        """The CustomResourceDefinition of a kind."""
        return self.within("default").get(CRD, f"{kind.plural}.{kind.group}")

    def last_event(self, namespace: str, name: str) -> str:
        """Newest event about an object, '' if there is none or it may not be read."""
        try:
            events = self.within(namespace).read("events", fieldSelector=f"involvedObject.name={name}")["items"]
        except ClusterError:
            return ""
        newest = max(events, key=lambda one: one.get("lastTimestamp") or one.get("eventTime") or "", default=None)
        return f"{newest['reason']}: {newest['message']}" if newest else ""

    def denied(self, plan: Plan, namespace: str, rights: tuple[Right, ...]) -> list[Right]:
        """Those rights that the steps' service account does not have in a namespace."""
        return [one for one in rights if not self._allowed(plan, namespace, one)]

    def _allowed(self, plan: Plan, namespace: str, right: Right) -> bool:
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{plan.namespace}", "system:authenticated"]
        review = {
            "apiVersion": REVIEW.api_version, "kind": REVIEW.kind,
            # A review has no name.
            "metadata": {"name": "", "namespace": namespace},
            "spec": {"user": f"system:serviceaccount:{plan.namespace}:{plan.service_account}", "groups": groups,
                     "resourceAttributes": {"namespace": namespace, **right.attributes()}},
        }  # fmt: skip
        return bool(self.within(namespace).create(REVIEW, review)["status"]["allowed"])

    def _reachable(self) -> None:
        """The client itself would wait for minutes."""
        parts = urlsplit(self.address)
        if self._first.client.configuration.proxy:
            return
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            socket.create_connection((parts.hostname or "", port), ANSWERS_IN_S).close()
        except OSError as error:
            raise ClusterError(
                f"the API server {self.address} is unreachable: {error}",
                "check the kubeconfig, or give another context (--kube-context)",
            ) from error


def specification(definition: Manifest, kind: Kind) -> dict[str, Any]:
    """Fields of `spec` in the served version that we use.

    Raises:
        Unmet: the version is not served.
    """
    served = {one["name"]: one for one in definition["spec"]["versions"] if one["served"]}
    if kind.version not in served:
        raise Unmet(f"serves {', '.join(served)}, not {kind.version}")
    schema = served[kind.version].get("schema", {}).get("openAPIV3Schema", {})
    return schema.get("properties", {}).get("spec", {}).get("properties", {})


def condition_problem(status: Manifest, *kinds: str) -> str:
    """What keeps a condition of these types from being True, '' if all are."""
    found = {one["type"]: one for one in status.get("conditions", [])}
    for kind in kinds:
        one = found.get(kind, {"status": "Unknown", "reason": "no controller has set it"})
        if one["status"] != "True":
            return f"{kind} is {one['status']}: {one.get('reason', '')} {one.get('message', '')}".strip()
    return ""


def is_selected(selector: Manifest, labels: Manifest) -> bool:
    """Whether a selector of matchLabels selects the labels; one with expressions counts as not."""
    return "matchExpressions" not in selector and selector.get("matchLabels", {}).items() <= labels.items()
