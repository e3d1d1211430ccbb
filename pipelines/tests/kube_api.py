"""A server on loopback that answers as a Kubernetes API server does, from a table of paths, or refuses everything."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from pipelines.tests.loopback import loopback_server

CORE = "/api/v1/namespaces"
REASONS = {401: "Unauthorized", 403: "Forbidden"}


@dataclass
class KubeApi:
    """What the server has, and how it refuses.

    Attributes:
        objects: path -> JSON of a GET; everything else is 404, and an access review is allowed.
        refusal: status and message of every answer; 0: none.
        refused: part of a path -> the same for these. user: who is forbidden what in a 403 without a message.
        asked: path of each request, and methods its method. host: address.
    """

    objects: dict[str, Any] = field(default_factory=dict)
    refusal: tuple[int, str] = (0, "")
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)
    user: str = "ann"
    asked: list[str] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    host: str = ""

    def answer(self, path: str, method: str) -> tuple[int, Any]:
        """Status and body; a str is sent as it is."""
        path = path.rstrip("/")
        self.asked.append(path)
        self.methods.append(method)
        status, message = next((one for part, one in self.refused.items() if part in path), self.refusal)
        if status == 403:
            message = message or f'secrets "x" is forbidden: User "{self.user}" cannot get resource "{path}"'
        if status:
            return status, message if status == 400 else _failure(status, message, REASONS.get(status, ""))
        if method == "POST":
            return 201, {"status": {"allowed": True}}
        if path in self.objects:
            return 200, self.objects[path]
        plural, name = path.split("/")[-2:]
        return 404, _failure(404, f'{plural} "{name}" not found', "NotFound")


def kubeconfig(path: Path, server: str, user: dict[str, Any] | None = None) -> Path:
    """Write the kubeconfig of a server; without a user it needs no login."""
    path.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}], "users": [{"name": "u", "user": user or {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }))  # fmt: skip
    return path


def _failure(status: int, message: str, reason: str = "") -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "message": message,
            "reason": reason}  # fmt: skip


def _handler(api: KubeApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = api.answer(self.path.partition("?")[0], self.command)
            data = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


@contextlib.contextmanager
def kube_server(certificate: Path | None = None, **how: Any) -> Iterator[KubeApi]:
    """A running server; over HTTPS with a PEM file of a certificate and its key."""
    api = KubeApi(**how)
    with loopback_server(_handler(api), certificate) as (_, api.host):
        yield api
