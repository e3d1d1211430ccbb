"""Runs kubectl; what it prints when it fails, as one sentence with a fix for the kubeconfig or cluster."""

import re
import subprocess

from components.shared.cluster.access import CERTIFICATE_FIX
from components.shared.errors import ClusterError, InputError

TIMEOUT_S = 120
CONTEXTS = "kubectl config get-contexts"
_ADVICE = "; if you choose to ignore these errors, turn validation off with --validate=false"
_LOG_LINE = re.compile(r"^[EWI]\d{4} ")
_NO_ANSWER = (
    "connection refused", "was refused", "no such host", "i/o timeout", "no route to host",
    "network is unreachable", "timeout exceeded", "tls handshake timeout",
)  # fmt: skip
_NO_LOGIN = (
    "must be logged in", "asked for the client to provide credentials", "unauthorized", "system:anonymous",
    "error: eof", "error reading input for", "getting credentials",
    # Every user with a login may read the API's description: a 403 without a message.
    "failed to download openapi: unknown",
)  # fmt: skip


def run(*words: str, given: str = "", context: str = "") -> subprocess.CompletedProcess[str]:
    """Run kubectl; a failure is in the result.

    Raises:
        InputError: it is not installed.
        ClusterError: it had no answer in time.
    """
    command = ["kubectl", *(["--context", context] if context else []), *words]
    try:
        return subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except FileNotFoundError as error:
        raise InputError("kubectl is not on the PATH", "install kubectl >= 1.27") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"kubectl had no answer within {TIMEOUT_S} s", "check the kubeconfig's server") from error


def failed(done: subprocess.CompletedProcess[str], what: str) -> ClusterError:
    """The error of a kubectl that failed.

    Args:
        done: Its result.
        what: What failed, such as `kubectl apply`.
    """
    said = messages(done.stderr)
    text = "; ".join(said) or f"it ended with {done.returncode}"
    lowered = text.lower()
    if "context was not found" in lowered or re.search(r'context "[^"]*" does not exist', lowered):
        name = re.findall(r'context:? "?([^\s"]+)"?', text)
        return ClusterError(f"the kubeconfig has no context {name[-1] if name else ''}".strip(),
                            f"give one of those that this command lists (--kube-context):\n{CONTEXTS}")  # fmt: skip
    if "//localhost:8080" in lowered or "server localhost:8080" in lowered:
        return ClusterError(
            "kubectl found no kubeconfig: it asked localhost:8080",
            f"set KUBECONFIG to the cluster's file; this command lists what it holds:\n{CONTEXTS}",
        )
    if "x509: " in lowered:
        return ClusterError(
            f"the certificate of the API server is not trusted: {text.rpartition('x509: ')[2]}", CERTIFICATE_FIX
        )
    if any(one in lowered for one in _NO_ANSWER):
        server = re.findall(r"https?://[^/\s\"?]+", text) or re.findall(r"server (\S+) was refused", text)
        reason = next(one for one in _NO_ANSWER if one in lowered).replace("was refused", "connection refused")
        return ClusterError(
            f"the API server{f' {server[0]}' if server else ''} gives no answer: {reason}",
            f"check that the cluster runs and that the kubeconfig's current context is its own:\n{CONTEXTS}",
        )
    if any(one in lowered for one in _NO_LOGIN):
        return ClusterError(
            "the API server does not accept the login of the kubeconfig",
            "log in again, or give a context with a valid login (--kube-context)",
        )
    return ClusterError(
        f"{what} failed: {text}", "check the context and your rights in the namespace, then run the command again"
    )


def messages(stderr: str) -> list[str]:
    """The lines of stderr, each once, without log lines and without the advice to switch validation off."""
    lines = (line.replace(_ADVICE, "").strip() for line in stderr.splitlines())
    return list(dict.fromkeys(line for line in lines if line and not _LOG_LINE.match(line)))


def existing(kinds: tuple[str, ...], name: str, namespace: str, context: str = "") -> list[str]:
    """Those kinds of which an object of this name exists; what may not be read counts as not."""
    found = run("-n", namespace, "get", *(f"{kind}/{name}" for kind in kinds), "--ignore-not-found", "-o", "name",
                context=context)  # fmt: skip
    there = {line.partition("/")[0] for line in found.stdout.split()}
    return [kind for kind in kinds if kind in there]


def absent_namespaces(names: list[str], context: str = "") -> list[str]:
    """Those namespaces that do not exist; whoever may not read namespaces is told by the next command.

    Raises:
        InputError: kubectl is not installed.
        ClusterError: the cluster cannot be reached, or does not accept the login.
    """
    done = run("get", "namespace", *names, "-o", "name", context=context)
    absent = [one for one in names if f'namespaces "{one}" not found' in done.stderr]
    if done.returncode and not absent and ("forbidden" not in done.stderr.lower() or "system:anonymous" in done.stderr):
        raise failed(done, "kubectl get namespace")
    return absent
