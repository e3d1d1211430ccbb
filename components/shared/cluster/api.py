"""Custom resources of a cluster: read, written and followed, over conflicts, cut watches and a server that is away.

A thin layer on the kubernetes client; what it adds is patience, one error tree, and words that name the fix.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import kubernetes
import urllib3
from kubernetes.client import ApiException, CustomObjectsApi

from components.shared.cluster.kinds import Kind
from components.shared.errors import ChangedObject, ClusterError, InputError, MissingObject

Manifest = dict[str, Any]
"""A resource as JSON values."""

_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_TRANSPORT = (urllib3.exceptions.HTTPError, OSError)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long an API server may be away."""

    connects: int = 30
    """Attempts to connect; waits double from 0.2 s to at most 5 s between them, so 30 are about two minutes."""
    statuses: int = 12
    """Attempts after 429, 500, 502, 503 or 504, such as a webhook that is away: 12 are about 40 s."""
    unknown_kind_s: float = 3.0
    """Seconds until an unknown kind is believed: a server that has just started does not know its own kinds yet."""

    def retries(self) -> urllib3.Retry:
        """As urllib3 takes it; every method is retried, because each of ours may be repeated."""
        return urllib3.Retry(
            total=None, connect=self.connects, read=self.connects, other=0, redirect=3, status=self.statuses,
            status_forcelist=(429, 500, 502, 503, 504), allowed_methods=None, backoff_factor=0.2, backoff_max=5.0,
            raise_on_status=False,
        )  # fmt: skip


def connect(context: str = "", namespace: str = "", patience: Patience | None = None) -> "Cluster":
    """The cluster of this pod, or of a kubeconfig (KUBECONFIG or ~/.kube/config).

    Args:
        context: Context of the kubeconfig; '' means this pod's cluster inside one, else the current context.
        namespace: Where objects live; '' means the pod's own or the context's.
        patience: How long the API server may be away.

    Raises:
        InputError: there is neither a pod nor a usable kubeconfig.
    """
    configuration = kubernetes.client.Configuration()
    own = "default"
    # The client reads KUBECONFIG when it is imported; a test or a person may set it later.
    path = os.environ.get("KUBECONFIG", "")
    try:
        if not context and not path and "KUBERNETES_SERVICE_HOST" in os.environ:
            kubernetes.config.load_incluster_config(client_configuration=configuration)
            own = _NAMESPACE.read_text(encoding="utf-8").strip()
        else:
            kubernetes.config.load_kube_config(path or None, context or None, configuration)
            contexts, current = cast(
                tuple[list[Manifest], Manifest], kubernetes.config.list_kube_config_contexts(path or None)
            )
            chosen = next((one for one in contexts if one["name"] == context), current)
            own = chosen["context"].get("namespace", own)
    except (kubernetes.config.ConfigException, OSError) as error:
        raise InputError(
            f"no cluster: {error}",
            "set KUBECONFIG, name a context that `kubectl config get-contexts` lists, or run in a pod",
        ) from error
    patience = patience or Patience()
    configuration.retries = patience.retries()  # pyright: ignore[reportAttributeAccessIssue]
    return Cluster(kubernetes.client.ApiClient(configuration), namespace or own, patience)


class Cluster:
    """Objects of one namespace (and of the whole cluster, for kinds that have none).

    Args:
        client: A connected client.
        namespace: Where objects live.
        patience: How long an unknown kind is asked for again; the client's own retries are set by `connect`.
    """

    def __init__(self, client: kubernetes.client.ApiClient, namespace: str, patience: Patience):
        self.client, self.namespace, self._patience = client, namespace, patience
        self._objects = CustomObjectsApi(client)

    def close(self) -> None:
        """End all connections."""
        self.client.rest_client.pool_manager.clear()

    def get(self, kind: Kind, name: str) -> Manifest:
        """The object as it is now.

        Raises:
            MissingObject: there is none, or the cluster does not know the kind.
            ClusterError: the API refused or is away.
        """
        return self._call(kind, name, "get", {"name": name})

    def find(self, kind: Kind, name: str) -> Manifest | None:
        """The object as it is now, None when there is none.

        Raises:
            MissingObject: the cluster does not know the kind.
            ClusterError: the API refused or is away.
        """
        try:
            return self.get(kind, name)
        except MissingObject:
            # An unknown kind cannot be listed either; a missing object can.
            self.list(kind, limit=1)
            return None

    def list(self, kind: Kind, labels: str = "", limit: int = 0) -> list[Manifest]:
        """Objects that carry the labels (`key=value,...`).

        Raises:
            MissingObject: the cluster does not know the kind.
            ClusterError: the API refused or is away.
        """
        chosen = ({"label_selector": labels} if labels else {}) | ({"limit": limit} if limit else {})
        return self._call(kind, labels, "list", chosen)["items"]

    def create(self, kind: Kind, body: Manifest) -> Manifest:
        """A new object.

        Raises:
            ChangedObject: one of that name exists.
            ClusterError: the API refused (schema, webhook, quota, rights) or is away.
        """
        return self._call(kind, body["metadata"]["name"], "create", {"body": body})

    def patch(self, kind: Kind, name: str, body: Manifest) -> Manifest:
        """Merge-patch (RFC 7386): absent fields stay, null removes; with a resourceVersion only that state is changed.

        Raises:
            MissingObject: there is no such object.
            ChangedObject: the resourceVersion is not the newest.
            ClusterError: the API refused or is away.
        """
        return self._call(kind, name, "patch", {"name": name, "body": body})

    def delete(self, kind: Kind, name: str) -> bool:
        """Remove the object and what it owns; False when it was gone already.

        Raises:
            ClusterError: the API refused or is away.
        """
        try:
            self._call(kind, name, "delete", {"name": name, "propagation_policy": "Background"})
        except MissingObject:
            return False
        return True

    def update(
        self, kind: Kind, name: str, change: Callable[[Manifest], Manifest | None], attempts: int = 8
    ) -> Manifest:
        """Read, ask `change` for a merge-patch, write it on that very state; over again when somebody was faster.

        Args:
            kind: Of the object.
            name: Of the object.
            change: Gets the present object; returns the patch, or None when nothing is to change.
            attempts: Before giving up.

        Raises:
            MissingObject: there is no such object.
            ChangedObject: it changed under every attempt.
            ClusterError: the API refused or is away.
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
            f"{kind.kind} {name} changed under each of {attempts} attempts", "see which controller fights over it"
        )

    def follow(self, kind: Kind, name: str, seconds: float) -> Generator[Manifest, None, None]:
        """The object now and after every change, for at most `seconds`; a watch that is cut off is taken up again.

        Raises:
            MissingObject: it is gone.
            ClusterError: the API refused or is away.
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
            # Closed at once, not when the collector comes by: whoever stops looking leaves no connection behind.
            with contextlib.closing(self._watch(kind, name, last, left)) as changes:
                for changed in changes:
                    last = changed["metadata"]["resourceVersion"]
                    yield changed

    def _watch(self, kind: Kind, name: str, since: str, seconds: float) -> Generator[Manifest, None, None]:
        """Changes until the server ends the watch, it breaks, or the object goes; the caller looks again then."""
        watch = kubernetes.watch.Watch()
        listing, coordinates = self._method(kind, "list")
        # A server may end a watch whenever it likes; ten seconds also bound how long a dead connection goes unseen.
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
            # 410: the history is gone; 404: a restarted server that does not know the kind yet. `get` tells which.
            if error.status not in (404, 410):
                raise _refused(error, kind, name, "watch") from error
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
                if error.status != 404 or _reason(error) == "NotFound" or time.monotonic() > deadline:
                    raise _refused(error, kind, name, verb) from error
            except _TRANSPORT as error:
                raise ClusterError(
                    f"the API server {self.client.configuration.host} cannot be reached: {error}",
                    "check the cluster and the context, then run it again",
                ) from error
            time.sleep(0.5)


def _said(error: ApiException) -> dict[str, Any]:
    """The Status object of a refusal, empty when it carries none."""
    try:
        said = json.loads(error.body or "{}")
    except json.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}


def _reason(error: ApiException) -> str:
    return _said(error).get("reason", "")


def _refused(error: ApiException, kind: Kind, name: str, verb: str) -> ClusterError:
    """What the server said, with the fix for each of its reasons."""
    reason, message = _reason(error), _said(error).get("message") or (error.body or error.reason or "").strip()
    what = f"{verb} {kind.kind} {name}".strip()
    if error.status == 404 and reason != "NotFound":
        return MissingObject(f"{what}: the cluster does not know {kind.plural}.{kind.group}", f"install {kind.needs}")
    if error.status == 404:
        return MissingObject(f"{what}: there is none", f"check name and namespace (kubectl get {kind.plural})")
    if error.status == 409:
        return ChangedObject(f"{what}: {message}", "run it again; it reads the newest state first")
    fixes = {
        401: "log in again, or use a context with credentials",
        400: "fix what the webhook names",
        403: "give the service account the right, or the namespace the quota, that is named",
        422: f"fix the field that is named; {kind.kind} {kind.api_version} has no other form",
    }
    return ClusterError(
        f"{what}: {error.status} {message}",
        fixes.get(error.status or 0, "see the API server's log, and the controller of a webhook that is named"),
    )
