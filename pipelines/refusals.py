"""What a Kubeflow Pipelines server answers instead of doing what it was asked, in one sentence with its fix.

KfpError           the server is unreachable, or rejects a request
├── FailedRun      the awaited run failed
└── CancelledRun   the awaited run was cancelled
"""

import contextlib
import http
import json
import re

import httpx

from components.shared.errors import ShoprankError

ADDRESS = (
    "give the address of KFP's UI, such as http://localhost:8080 after "
    "`kubectl -n kubeflow port-forward svc/ml-pipeline-ui 8080:80`, or https://HOST/pipeline of a Kubeflow platform"
)
ACCESS = "give --token (or KF_PIPELINES_TOKEN), --token-file or --cookies of an account that may use the namespace"


class KfpError(ShoprankError):
    """The KFP server is unreachable, or rejects a request.

    Args:
        headline: See ShoprankError.
        fix: See ShoprankError.
        status: HTTP status of the server's answer; 0 without one.
    """

    def __init__(self, headline: str, fix: str, status: int = 0):
        super().__init__(headline, fix)
        self.status = status


class FailedRun(KfpError):
    """The awaited run failed."""


class CancelledRun(KfpError):
    """The awaited run was cancelled."""


def unreachable(host: str, error: Exception, seconds: float) -> KfpError:
    """The error for a server that sent no answer within `seconds`."""
    if isinstance(error, httpx.TimeoutException):
        return KfpError(f"--host {host}: no answer within {seconds:.0f} s", ADDRESS)
    cause = str(error.__cause__ or error)
    reason = one_line(cause.rpartition("] ")[2] if cause.startswith("[Errno") else cause) or type(error).__name__
    if "WRONG_VERSION_NUMBER" in cause or "RECORD_LAYER_FAILURE" in cause:
        plain = host.replace("https://", "http://", 1)
        return KfpError(f"--host {host}: the server answers without TLS", f"give --host {plain}")
    if "CERTIFICATE" in cause.upper():
        return KfpError(
            f"--host {host}: {reason.partition(' (_ssl')[0]}",
            "give --ca FILE, the PEM file of the authority that signed it, or --no-verify on a network that you trust",
        )
    return KfpError(f"--host {host}: {reason}", ADDRESS)


def lost(host: str, error: Exception) -> KfpError:
    """The error for a server that answered before; urllib3 wraps the reason, with addresses of objects."""
    reason = str(getattr(error, "reason", None) or error)
    found = re.search(r"\[Errno -?\d+\] ([^'\")]+)|'([^']+)'\)?$", reason)
    return KfpError(f"--host {host}: {one_line(next(filter(None, found.groups())) if found else reason)}", ADDRESS)


def rejected(host: str, status: int, reason: str | None, body: str | bytes | None) -> KfpError:
    """The error for a status, with the sentence of the server."""
    try:
        said = json.loads(body or "{}")
        message = one_line(str(said.get("message") or said.get("error") or "")) if isinstance(said, dict) else ""
    except ValueError:
        message = ""
    headline = f"--host {host}: {status_text(status) if status else one_line(reason or 'no answer')}"
    if message and message.lower() not in headline.lower():
        headline += f": {message}"
    if status in (401, 403):
        return KfpError(headline, ACCESS, status)
    if status >= 500 or not status:
        return KfpError(headline, "try again; see whether KFP is ready: `kubectl -n kubeflow get pods`", status)
    return KfpError(headline, "change what the message names; every option: `shoprank submit --help`", status)


def status_text(code: int) -> str:
    """A status with its phrase: 404 Not Found."""
    with contextlib.suppress(ValueError):
        return f"{code} {http.HTTPStatus(code).phrase}"
    return str(code)


def one_line(text: str, limit: int = 300) -> str:
    """The first line that is not empty, at most `limit` characters of it."""
    line = next((one.strip() for one in text.splitlines() if one.strip()), "")
    return line if len(line) <= limit else f"{line[:limit]}..."
