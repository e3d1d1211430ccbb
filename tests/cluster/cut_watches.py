"""A proxy in front of the real API server that reads its answers, and so can end a watch in the middle of an event."""

import contextlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import urllib3

from components.shared.cluster.api import Cluster, RetryPolicy
from tests.cluster.api_server import ApiServer


@dataclass
class Front:
    """Current behaviour of the proxy.

    Attributes:
        cut_watches: whether watches end in the middle of an event. cut: number of such.
    """

    cut_watches: bool = False
    cut: int = 0


@contextlib.contextmanager
def in_front_of(server: ApiServer, patience: RetryPolicy | None = None) -> Iterator[tuple[Cluster, Front]]:
    """Connect to a new namespace through a Front."""
    cluster, front = server.connect(patience or RetryPolicy()), Front()
    settings = cluster.client.configuration
    upstream = urllib3.PoolManager(
        cert_file=settings.cert_file, key_file=settings.key_file, ca_certs=settings.ssl_ca_cert
    )
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
        def forward(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            kept = {name: self.headers[name] for name in ("accept", "content-type") if name in self.headers}
            watch = "watch=True" in self.path
            response = upstream.request(
                self.command, host + self.path, body=body, headers=kept, preload_content=not watch
            )
            if watch:
                self._stream(response)
            else:
                self._answer(response.status, response.data)

        def _answer(self, status: int, content: bytes):
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _stream(self, response: urllib3.BaseHTTPResponse):
            """Forward a watch, one event per line; a watch to be cut ends in the middle of an event."""
            self.send_response(response.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", "1000000000")
            self.end_headers()
            with contextlib.closing(response), contextlib.suppress(OSError):
                for line in response:
                    if front.cut_watches:
                        self.wfile.write(line[: len(line) // 2])
                        front.cut += 1
                        break
                    self.wfile.write(line)
                    self.wfile.flush()
            self.close_connection = True

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward

        def log_message(self, format: str, *args: object):
            pass

    return Handler
