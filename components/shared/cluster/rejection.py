"""Error responses of the Kubernetes API as exceptions with a fix."""

import json
from typing import Any

from kubernetes.client import ApiException

from components.shared.cluster.kinds import Kind
from components.shared.errors import ChangedObject, ClusterError, MissingObject


def _said(error: ApiException) -> dict[str, Any]:
    """The Status object of an error response, or {}."""
    try:
        body = json.loads(error.body or "{}")
    except json.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def reason_of(error: ApiException) -> str:
    """`reason` of the Status object, '' if the answer has none: NotFound, Forbidden, AlreadyExists ..."""
    return _said(error).get("reason", "")


def rejected(error: ApiException, kind: Kind, name: str, verb: str) -> ClusterError:
    """Convert an error response to an exception with a fix for its reason."""
    reason, message = reason_of(error), _said(error).get("message") or (error.body or error.reason or "").strip()
    what = f"{verb} {kind.kind} {name}".strip()
    if error.status == 404 and reason != "NotFound":
        return MissingObject(f"{what}: the cluster does not know {kind.plural}.{kind.group}", f"install {kind.needs}")
    if error.status == 404:
        return MissingObject(f"{what}: not found", f"check name and namespace (kubectl get {kind.plural})")
    if error.status == 409:
        return ChangedObject(f"{what}: {message}", "run it again; it starts from the current state")
    if "denied the request" in message:
        # Controllers choose the status of a denial: 403 is usual, which is also that of missing rights.
        return ClusterError(f"{what}: {error.status} {message}", "fix the problem reported by the webhook")
    fixes = {
        401: "log in again, or use a context with credentials",
        400: f"correct the field named above to match the schema of {kind.kind} {kind.api_version}",
        403: "grant the account named above the permission, or the namespace the quota",
        422: f"correct the field named above to match the schema of {kind.kind} {kind.api_version}",
    }
    return ClusterError(
        f"{what}: {error.status} {message}",
        fixes.get(error.status or 0, "check the log of the API server and of any webhook named above"),
    )
