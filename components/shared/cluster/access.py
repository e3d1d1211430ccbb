"""Why an API server answers no request, or not this one: address, TLS, login, rights; one sentence per cause."""

import json
import re
from dataclasses import dataclass

import urllib3
from kubernetes.client import ApiException

from components.shared.errors import ClusterError

_ANONYMOUS = "system:anonymous"
_LOGIN = (
    "log in again, or give a context with a valid login (--kube-context); a login command of the kubeconfig (exec) "
    "may have failed"
)
CERTIFICATE_FIX = (
    "give the cluster's CA and the address that its certificate names:\n"
    "kubectl config set-cluster CLUSTER --certificate-authority=FILE"
)
"""What to do when TLS does not trust the API server."""


@dataclass(frozen=True)
class AccessProblem:
    """Why a request was not answered.

    Attributes:
        cause: one sentence, the same for all requests with that cause. fix: what to do.
        affects_all: whether every other request would fail in the same way.
    """

    cause: str
    fix: str
    affects_all: bool = False


def access_problem(error: ClusterError) -> AccessProblem:
    """The problem behind an error of `Cluster`."""
    behind = error.__cause__
    tls = _tls_reason(behind)
    if tls:
        return _of_tls(tls)
    if not isinstance(behind, ApiException):
        return AccessProblem(error.headline, error.fix, affects_all=isinstance(behind, urllib3.exceptions.HTTPError))
    message = _message(behind)
    if behind.status == 400 and "HTTP request to an HTTPS server" in message:
        return AccessProblem(
            "the API server expects https, and the kubeconfig gives an address with http",
            "write https in the address of the cluster:\nkubectl config set-cluster CLUSTER --server=https://ADDRESS",
            affects_all=True,
        )
    if behind.status == 401:
        return AccessProblem("the API server does not accept the login of the kubeconfig (401)", _LOGIN, True)
    user = (re.findall(r'forbidden: User "([^"]+)"', message) or [""])[0]
    if behind.status == 403 and user == _ANONYMOUS:
        return AccessProblem("forbidden (403): the requests carry no login of the kubeconfig", _LOGIN, True)
    if behind.status == 403 and user:
        return AccessProblem(
            f"forbidden (403): {user} may not read it",
            "give a context whose user may (--kube-context), or ask an administrator for the right to read it",
        )
    return AccessProblem(f"the API server answered {behind.status}: {' '.join(message.split())[:200]}", error.fix)


def _of_tls(reason: str) -> AccessProblem:
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        said = re.sub(r"^.*certificate verify failed: |\s*\(_ssl\.c.*$", "", reason, flags=re.DOTALL)
        return AccessProblem(
            f"the certificate of the API server is not trusted: {said}",
            CERTIFICATE_FIX,
            affects_all=True,
        )
    return AccessProblem(
        f"no TLS connection with the API server: {re.sub(r'^.*SSLError[(]|[)]*$', '', reason)[:200]}",
        "look at the address of the cluster in the kubeconfig (http or https) and at its client certificate",
        affects_all=True,
    )


def _tls_reason(error: BaseException | None) -> str:
    """What TLS reports, '' if it is not the cause."""
    reason = getattr(error, "reason", None)
    if isinstance(error, urllib3.exceptions.SSLError) or isinstance(reason, urllib3.exceptions.SSLError):
        return str(reason or error)
    return reason if isinstance(reason, str) and "SSLError" in reason else ""


def _message(error: ApiException) -> str:
    try:
        body = json.loads(error.body or "{}")
    except json.JSONDecodeError:
        body = {}
    said = body.get("message") if isinstance(body, dict) else ""
    return said or str(error.body or error.reason or "")
