"""Admission of the real API server in one namespace: a used-up quota, and a webhook that nobody answers."""

import contextlib
from collections.abc import Iterator
from typing import Any

import kubernetes

from components.shared.cluster.api import Cluster
from components.shared.cluster.kinds import Kind
from components.shared.tests.waiting import eventually


def used_up_quota(cluster: Cluster, kind: Kind) -> None:
    """Allow no further object of the kind in the namespace."""
    core = kubernetes.client.CoreV1Api(cluster.client)
    hard = {f"count/{kind.plural}.{kind.group}": "0"}
    core.create_namespaced_resource_quota(cluster.namespace, {"metadata": {"name": "shoprank"}, "spec": {"hard": hard}})

    def counted() -> Any:
        found: Any = core.read_namespaced_resource_quota("shoprank", cluster.namespace)
        return found.status.used

    # The server refuses with another message until the quota's controller has counted.
    assert eventually(counted, 120)


@contextlib.contextmanager
def webhook_without_server(cluster: Cluster, kind: Kind) -> Iterator[None]:
    """Let a webhook that cannot be reached judge all writes of the kind in the namespace."""
    admission = kubernetes.client.AdmissionregistrationV1Api(cluster.client)
    name = f"{cluster.namespace}.shoprank.example"
    rule = {"apiGroups": [kind.group], "apiVersions": [kind.version], "resources": [kind.plural],
            "operations": ["CREATE", "UPDATE"]}  # fmt: skip
    hook = {
        "name": name, "rules": [rule], "failurePolicy": "Fail", "sideEffects": "None", "timeoutSeconds": 2,
        "admissionReviewVersions": ["v1"], "clientConfig": {"url": "https://127.0.0.1:9/"},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": cluster.namespace}},
    }  # fmt: skip
    admission.create_validating_webhook_configuration({"metadata": {"name": name}, "webhooks": [hook]})
    try:
        yield
    finally:
        admission.delete_validating_webhook_configuration(name)
