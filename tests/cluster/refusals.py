"""Stands between the client and the real API server: refuses as quotas and webhooks do, and cuts watches off.

The API server for tests runs no admission plugins; the bodies below are the ones that a whole API server sends.
"""

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import urllib3

from components.shared.cluster.api import Cluster, RetryPolicy
from tests.cluster.api_server import ApiServer


@dataclass
class Refusal:
    """One answer in the server's place.

    Attributes:
        status: HTTP status. reason: of the Status object. message: what it says. times: how often, then never again.
    """

    status: int
    reason: str
    message: str
    times: int = 1_000_000


QUOTA = Refusal(
    403, "Forbidden", 'inferenceservices.serving.kserve.io "shoprank" is forbidden: exceeded quota: shoprank, '
    "requested: count/inferenceservices.serving.kserve.io=1, used: count/inferenceservices.serving.kserve.io=4, "
    "limited: count/inferenceservices.serving.kserve.io=4",
)  # fmt: skip
DENIED = Refusal(
    400, "BadRequest", 'admission webhook "inferenceservice.kserve-webhook-server.validator" denied the request: '
    "canary traffic is not allowed in this namespace",
)  # fmt: skip


def webhook_away(times: int) -> Refusal:
    """The API server cannot reach a webhook, as while its controller restarts."""
    return Refusal(
        500, "InternalError", 'Internal error occurred: failed calling webhook "inferenceservice.kserve-webhook-server.'
        'defaulter": failed to call webhook: no endpoints available for service "kserve-webhook-server-service"', times,
    )  # fmt: skip


@dataclass
class Front:
    """What the front does now.

    Attributes:
        refusals: by HTTP method. cut_watches: whether a watch ends in the middle of an event. cut: how many did.
    """

    refusals: dict[str, Refusal] = field(default_factory=dict)
    cut_watches: bool = False
    cut: int = 0

    def refusal(self, method: str, path: str) -> Refusal | None:
        """The refusal that is due; a controller's status is never refused."""
        due = self.refusals.get(method)
        if due is None or due.times == 0 or path.endswith("/status"):
            return None
        due.times -= 1
        return due


@contextlib.contextmanager
def in_front_of(server: ApiServer, patience: RetryPolicy | None = None) -> Iterator[tuple[Cluster, Front]]:
    """A connection, to a namespace of its own, that leads through a Front."""
    cluster, front = server.connect(patience or RetryPolicy()), Front()
    settings = cluster.client.configuration
    upstream = urllib3.PoolManager(cert_file=settings.cert_file, key_file=settings.key_file, cert_reqs="CERT_NONE")
    handler = _handler(front, upstream, settings.host)
    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    proxy.daemon_threads = True
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    settings.host = f"http://127.0.0.1:{proxy.server_port}"
    try:
        yield cluster, front
    finally:
        cluster.close()
        proxy.shutdown()
        proxy.server_close()
        thread.join()
        upstream.clear()


def _handler(front: Front, upstream: urllib3.PoolManager, host: str) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def pass_on(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            due = front.refusal(self.command, self.path)
            if due:
                said = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                        "message": due.message, "reason": due.reason, "code": due.status}  # fmt: skip
                self._answer(due.status, json.dumps(said).encode())
                return
            kept = {name: self.headers[name] for name in ("accept", "content-type") if name in self.headers}
            watch = "watch=True" in self.path
            said = upstream.request(self.command, host + self.path, body=body, headers=kept, preload_content=not watch)
            if watch:
                self._stream(said)
            else:
                self._answer(said.status, said.data)

        def _answer(self, status: int, content: bytes):
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _stream(self, said: urllib3.BaseHTTPResponse):
            """Pass a watch on, one event a line; a watch that is to be cut breaks in the middle of one."""
            self.send_response(said.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", "1000000000")
            self.end_headers()
            with contextlib.closing(said), contextlib.suppress(OSError):
                for line in said:
                    if front.cut_watches:
                        self.wfile.write(line[: len(line) // 2])
                        front.cut += 1
                        break
                    self.wfile.write(line)
                    self.wfile.flush()
            self.close_connection = True

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on

        def log_message(self, *_):
            pass

    return Handler
