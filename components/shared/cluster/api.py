"""Reads, writes and watches resources: the kubernetes client, with retries and with errors that include a fix."""

import contextlib
import copy
import functools
import os
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, cast

import kubernetes
import urllib3
import yaml
from kubernetes.client import ApiException, CustomObjectsApi

from components.shared.cluster.kinds import POD, Kind
from components.shared.cluster.patience import RetryPolicy, network_cause
from components.shared.cluster.rejection import reason_of, rejected
from components.shared.errors import ChangedObject, ClusterError, InputError, MissingObject

Manifest = dict[str, Any]
"""A resource as JSON values."""

_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_TRANSPORT = (urllib3.exceptions.HTTPError, OSError)


def connect(context: str = "", namespace: str = "", patience: RetryPolicy | None = None) -> "Cluster":
    """Connect to the cluster of this pod, or of a kubeconfig (KUBECONFIG or ~/.kube/config).

    Args:
        context: Context of the kubeconfig; '' means the pod's cluster inside a pod, else the current context.
        namespace: Namespace of the objects; '' means the pod's own or the context's.
        patience: How long the API server may be unavailable; None: the defaults.

    Raises:
        InputError: this is not a pod and there is no usable kubeconfig.
    """
    configuration = kubernetes.client.Configuration()
    own, inside = "default", False
    # The client reads KUBECONFIG on import; it may be set later.
    path = os.environ.get("KUBECONFIG", "")
    try:
        if not context and not path and "KUBERNETES_SERVICE_HOST" in os.environ:
            kubernetes.config.load_incluster_config(client_configuration=configuration)
            own, inside = _NAMESPACE.read_text(encoding="utf-8").strip(), True
        else:
            kubernetes.config.load_kube_config(path or None, context or None, configuration)
            contexts, current = cast(
                tuple[list[Manifest], Manifest], kubernetes.config.list_kube_config_contexts(path or None)
            )
            chosen = next((one for one in contexts if one["name"] == context), current)
            own = chosen["context"].get("namespace", own)
    except (kubernetes.config.ConfigException, OSError, yaml.YAMLError) as error:
        raise InputError(
            f"no Kubernetes cluster found: {error}",
            "set KUBECONFIG, give a context that `kubectl config get-contexts` lists, or run in a pod",
        ) from error
    patience = patience or RetryPolicy()
    configuration.retries = patience.retries()  # pyright: ignore[reportAttributeAccessIssue]
    return Cluster(kubernetes.client.ApiClient(configuration), namespace or own, patience, inside)


class Cluster:
    """Access to the objects of one namespace, and to cluster-scoped objects.

    Args:
        client: A connected client.
        namespace: Namespace of the objects.
        patience: How long an unknown kind is retried; the client's own retries are set by `connect`.
        inside: Whether this process runs in a pod of the cluster and so reaches its Services and pods.
    """

    def __init__(
        self, client: kubernetes.client.ApiClient, namespace: str, patience: RetryPolicy, inside: bool = False
    ):
        self.client, self.namespace, self._patience, self.inside = client, namespace, patience, inside
        self._objects = CustomObjectsApi(client)

    def close(self) -> None:
        """Close all connections."""
        self.client.rest_client.pool_manager.clear()
        if "_client_once" in self.__dict__:
            self._client_once.rest_client.pool_manager.clear()

    @functools.cached_property
    def _client_once(self) -> kubernetes.client.ApiClient:
        """A client that asks once."""
        configuration = copy.deepcopy(self.client.configuration)
        configuration.retries = urllib3.Retry(0, raise_on_status=False)  # pyright: ignore[reportAttributeAccessIssue]
        return kubernetes.client.ApiClient(configuration)

    def get(self, kind: Kind, name: str) -> Manifest:
        """Return the current object.

        Raises:
            MissingObject: the object does not exist, or the cluster does not have the kind.
            ClusterError: the API rejected the request or is unavailable.
        """
        return self._call(kind, name, "get", {"name": name})

    def read(self, path: str, patient: bool = True, **query: str) -> Any:
        """Return what a core path below the namespace answers, such as `pods`, or of none: `/persistentvolumes/NAME`.

        Errors such as 503 are retried only if `patient`: a pod that is asked may be ending.

        Raises:
            MissingObject: it does not exist.
            ClusterError: the API rejected the request or is unavailable.
        """
        below = path if path.startswith("/") else f"/namespaces/{self.namespace}/{path}"
        try:
            return (self.client if patient else self._client_once).call_api(
                f"/api/v1{below}", "GET", query_params=list(query.items()),
                header_params={"Accept": "application/json"}, auth_settings=["BearerToken"], response_type="object",
                _return_http_data_only=True, _request_timeout=30,
            )  # fmt: skip
        except ApiException as error:
            raise rejected(error, POD, path, "get") from error
        except _TRANSPORT as error:
            raise self._unreachable(error) from error

    def find(self, kind: Kind, name: str) -> Manifest | None:
        """Return the current object, or None if it does not exist.

        Raises:
            MissingObject: the cluster does not have the kind.
            ClusterError: the API rejected the request or is unavailable.
        """
        try:
            return self.get(kind, name)
        except MissingObject:
            # Listing fails for an unknown kind but not for a missing object.
            self.list(kind, limit=1)
            return None

    def list(self, kind: Kind, labels: str = "", limit: int = 0) -> list[Manifest]:
        """List the objects with these labels (`key=value,...`).

        Raises:
            MissingObject: the cluster does not have the kind.
            ClusterError: the API rejected the request or is unavailable.
        """
        chosen = ({"label_selector": labels} if labels else {}) | ({"limit": limit} if limit else {})
        return self._call(kind, labels, "list", chosen)["items"]

    def create(self, kind: Kind, body: Manifest) -> Manifest:
        """Create an object.

        Raises:
            ChangedObject: an object with that name exists.
            ClusterError: the API rejected it (schema, webhook, quota, permissions) or is unavailable.
        """
        return self._call(kind, body["metadata"]["name"], "create", {"body": body})

    def patch(self, kind: Kind, name: str, body: Manifest) -> Manifest:
        """Merge-patch (RFC 7386): absent fields are kept, null removes; a resourceVersion makes it conditional.

        Raises:
            MissingObject: the object does not exist.
            ChangedObject: the resourceVersion is outdated.
            ClusterError: the API rejected the request or is unavailable.
        """
        return self._call(kind, name, "patch", {"name": name, "body": body})

    def delete(self, kind: Kind, name: str) -> bool:
        """Delete the object and its dependents; False if it did not exist.

        Raises:
            ClusterError: the API rejected the request or is unavailable.
        """
        try:
            self._call(kind, name, "delete", {"name": name, "propagation_policy": "Background"})
        except MissingObject:
            return False
        return True

    def update(
        self, kind: Kind, name: str, change: Callable[[Manifest], Manifest | None], attempts: int = 8
    ) -> Manifest:
        """Read the object, compute a merge-patch with `change`, write it; retried after conflicts.

        Args:
            kind: Kind of the object.
            name: Name of the object.
            change: Called with the current object; returns the patch, or None for no change.
            attempts: Maximum number of attempts.

        Raises:
            MissingObject: the object does not exist.
            ChangedObject: every attempt had a conflict.
            ClusterError: the API rejected the request or is unavailable.
        """
        for attempt in range(attempts):
            present = self.get(kind, name)
            wanted = change(present)
            if wanted is None:
                return present
            state = {"resourceVersion": present["metadata"]["resourceVersion"]}
            try:
                return self.patch(kind, name, {**wanted, "metadata": {**wanted.get("metadata", {}), **state}})
            except ChangedObject:
                time.sleep(0.05 * 2**attempt)
        raise ChangedObject(
            f"{kind.kind} {name} was changed concurrently in each of {attempts} attempts",
            "check which other controller changes it",
        )

    def follow(self, kind: Kind, name: str, seconds: float) -> Generator[Manifest, None, None]:
        """Yield the object now and after every change, for at most `seconds`; an interrupted watch is resumed.

        Raises:
            MissingObject: it was deleted.
            ClusterError: the API rejected the request or is unavailable.
        """
        deadline, last = time.monotonic() + seconds, ""
        while True:
            present = self.get(kind, name)
            if present["metadata"]["resourceVersion"] != last:
                last = present["metadata"]["resourceVersion"]
                yield present
            left = deadline - time.monotonic()
            if left <= 0:
                return
            # Closed explicitly, so that no connection stays open until garbage collection.
            with contextlib.closing(self._watch(kind, name, last, left)) as changes:
                for changed in changes:
                    last = changed["metadata"]["resourceVersion"]
                    yield changed

    def _watch(self, kind: Kind, name: str, since: str, seconds: float) -> Generator[Manifest, None, None]:
        """Yield changes until the watch ends or fails or the object is deleted; the caller then reads it again."""
        watch = kubernetes.watch.Watch()
        listing, coordinates = self._method(kind, "list")
        # A server may end a watch at any time; ten seconds also bound the time until a dead connection is noticed.
        span = max(1, min(10, int(seconds)))
        try:
            events = watch.stream(
                listing, **coordinates, field_selector=f"metadata.name={name}", resource_version=since,
                timeout_seconds=span, _request_timeout=span + 5,
            )  # fmt: skip
            with contextlib.closing(cast(Generator[Manifest, None, None], events)):
                for event in cast(Generator[Manifest, None, None], events):
                    if event["type"] not in ("ADDED", "MODIFIED"):
                        return
                    yield event["object"]
        except ApiException as error:
            # 410: the resourceVersion expired; 404: a restarted server has not loaded the kind yet.
            if error.status not in (404, 410):
                raise rejected(error, kind, name, "watch") from error
        except _TRANSPORT:
            time.sleep(0.2)

    def _method(self, kind: Kind, verb: str) -> tuple[Callable[..., Any], dict[str, Any]]:
        coordinates = {"group": kind.group, "version": kind.version, "plural": kind.plural}
        if not kind.namespaced:
            return getattr(self._objects, f"{verb}_cluster_custom_object"), coordinates
        scoped = getattr(self._objects, f"{verb}_namespaced_custom_object")
        return scoped, {**coordinates, "namespace": self.namespace}

    def _call(self, kind: Kind, name: str, verb: str, given: dict[str, Any]) -> Any:
        method, coordinates = self._method(kind, verb)
        deadline = None
        while True:
            try:
                return method(**coordinates, **given)
            except ApiException as error:
                deadline = deadline or time.monotonic() + self._patience.unknown_kind_s
                if error.status != 404 or reason_of(error) == "NotFound" or time.monotonic() > deadline:
                    raise rejected(error, kind, name, verb) from error
            except _TRANSPORT as error:
                raise self._unreachable(error) from error
            time.sleep(0.5)

    def _unreachable(self, error: Exception) -> ClusterError:
        return ClusterError(
            f"the API server {self.client.configuration.host} is unreachable: {network_cause(error)}",
            "check the cluster and the kubeconfig context, then retry",
            transient=True,
        )
