"""An HTTP proxy in front of a server, which answers chosen requests itself or acts before it forwards them."""

import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
"""What an S3 server answers with 503 when it is asked too often."""


@dataclass
class FaultyHttp:
    """Forwards requests of 127.0.0.1 to a server, unless `fault` says otherwise.

    Attributes:
        server: Port of the server on 127.0.0.1.
        fault: Called with method and decoded path of each request before it is forwarded; returns the status of an
            answer of the proxy's own, or None. A call ends before the next one begins.
        answered: The requests that the proxy answered itself.
    """

    server: int
    fault: Callable[[str, str], int | None]
    answered: list[str] = field(default_factory=list)

    def __enter__(self) -> "FaultyHttp":
        proxy, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                """Read one request of any method."""
                self.raw_requestline = self.rfile.readline(65_537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with lock:
                    status = proxy.fault(self.command, unquote(self.path))
                    proxy.answered += [f"{self.command} {unquote(self.path)}"] if status else []
                self._answer(*((status, {}, SLOW_DOWN) if status else proxy._forwarded(self, content)))

            def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
                self.send_response_only(status)
                for name, value in ({"Content-Length": str(len(content))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"" if self.command == "HEAD" else content)
                self.wfile.flush()

        class Listener(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 64

        self._listener = Listener(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        """Port on 127.0.0.1."""
        return self._listener.server_address[1]

    def _forwarded(self, request: BaseHTTPRequestHandler, content: bytes) -> tuple[int, dict[str, str], bytes]:
        """The server's answer; the request's headers are passed as they are, because the signature covers them."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server, timeout=30)
        try:
            connection.putrequest(request.command, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                connection.putheader(name, value)
            connection.endheaders(content)
            answer = connection.getresponse()
            headers = {name: value for name, value in answer.getheaders() if name.lower() != "transfer-encoding"}
            return answer.status, headers, answer.read()
        finally:
            connection.close()
