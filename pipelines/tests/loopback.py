"""HTTP servers on loopback, for clients of platforms that are not here."""

import contextlib
import ssl
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Server(ThreadingHTTPServer):
    """Says nothing of a client that refuses the certificate or goes away: its traceback would seem the client's."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Print what went wrong, unless it is the connection."""
        if not isinstance(sys.exception(), (ssl.SSLError, ConnectionError)):
            super().handle_error(request, client_address)  # pyright: ignore[reportArgumentType]


@contextlib.contextmanager
def loopback_server(
    handler: type[BaseHTTPRequestHandler], certificate: Path | None = None
) -> Iterator[tuple[ThreadingHTTPServer, str]]:
    """A running server and its address; over HTTPS with a PEM file of a certificate and its key."""
    server = _Server(("127.0.0.1", 0), handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        # The handshake of a client that trusts nothing must not end the loop that accepts.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server, f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
