"""Which call needs which scope. What is not named here is denied without a key, and only admins may change anything."""

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from components.shared.access_keys import Scope

Need = Scope | Literal["open", "key"]
"""What a call needs: nothing, any key or token, or one with a scope."""

_NAME, _VERSION = r"[^/:\n]+", r"(?:/versions/[^/\n]+)?"


@dataclass(frozen=True)
class _Call:
    """Calls of a method whose path matches; `shown` stands for the path in logs, as names in it are a client's."""

    method: str
    path: re.Pattern[str]
    shown: str
    need: Need


def _call(method: str, path: str, need: Need) -> _Call:
    pattern = re.escape(path).replace(r"\{name\}", _NAME).replace(r"\{version\}", _VERSION)
    return _Call(method, re.compile(pattern), path.replace("{version}", ""), need)


METRICS = "/metrics"
_CALLS = (
    _call("GET", "/", "open"),
    _call("GET", METRICS, "open"),
    _call("GET", "/v1/models", "open"),
    _call("GET", "/v1/models/{name}", "open"),
    _call("GET", "/v2", "open"),
    _call("GET", "/v2/health/live", "open"),
    _call("GET", "/v2/health/ready", "open"),
    _call("GET", "/v2/models", "open"),
    _call("GET", "/v2/models/{name}{version}", "open"),
    _call("GET", "/v2/models/{name}{version}/ready", "open"),
    _call("POST", "/v1/models/{name}:predict", "ask"),
    _call("POST", "/v2/models/{name}{version}/infer", "ask"),
    _call("POST", "/v1/models/{name}:explain", "explain"),
    _call("POST", "/v2/models/{name}{version}/explain", "explain"),
    _call("POST", "/v1/events", "events"),
    _call("POST", "/v2/repository/models/{name}/load", "admin"),
    _call("POST", "/v2/repository/models/{name}/unload", "admin"),
)

_RPC = "/inference.GRPCInferenceService/"
_RPCS: dict[str, Need] = {
    "ServerLive": "open", "ServerReady": "open", "ModelReady": "open", "ServerMetadata": "open",
    "ModelMetadata": "open", "ModelInfer": "ask", "RepositoryModelLoad": "admin", "RepositoryModelUnload": "admin",
}  # fmt: skip
OTHER = "(another path)"


def need_of(method: str, path: str, metrics_scope: Scope | None = None) -> tuple[Need, str]:
    """What an HTTP request needs, and how its path is shown in logs.

    Args:
        method: HTTP method.
        path: Decoded path.
        metrics_scope: What /metrics needs; None: nothing.
    """
    method = "GET" if method == "HEAD" else method
    for call in _CALLS:
        if call.method == method and call.path.fullmatch(path):
            return (metrics_scope if path == METRICS and metrics_scope else call.need), call.shown
    # A router may match what these patterns do not, so what could change anything is left to admins.
    return ("key" if method == "GET" else "admin"), OTHER


def shown(path: str) -> str:
    """A path without what a client put into it, for logs."""
    decoded = unquote(path.partition("?")[0])
    return next((call.shown for call in _CALLS if call.path.fullmatch(decoded)), OTHER)


def need_of_rpc(method: str) -> tuple[Need, str]:
    """What a gRPC call needs, and how it is shown in logs."""
    name = method.removeprefix(_RPC) if method.startswith(_RPC) else ""
    return (_RPCS[name], name) if name in _RPCS else ("admin", OTHER)
