"""A TCP proxy in front of a server: it can hang, cut its connections, and be away for a while. TLS passes untouched."""

import contextlib
import socket
import socketserver
import threading
import time


class TcpProxy:
    """Forwards connections from a port of 127.0.0.1 to a server.

    Args:
        server: Host and port of the server.
    """

    def __init__(self, server: tuple[str, int]):
        self._server, self._flowing = server, threading.Event()
        self._sockets, self._lock = set[socket.socket](), threading.Lock()
        self._flowing.set()
        self._listen(0)

    @property
    def port(self) -> int:
        """Port on 127.0.0.1."""
        return self._listener.server_address[1]

    def pause(self) -> None:
        """Accept connections and forward nothing, as a dead load balancer does."""
        self._flowing.clear()

    def go_on(self) -> None:
        """Forward again, also what has arrived meanwhile."""
        self._flowing.set()

    def away(self, seconds: float) -> None:
        """End all connections and refuse new ones, then listen on the same port again."""
        port = self.port
        self.close()
        time.sleep(seconds)
        self._listen(port)

    def cut(self) -> None:
        """End all connections; new ones are accepted."""
        with self._lock:
            for one in self._sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop listening and end all connections."""
        self._listener.shutdown()
        self._listener.socket.close()
        self._flowing.set()
        self.cut()
        # Waits for the threads of all connections.
        self._listener.server_close()
        self._thread.join()

    def _listen(self, port: int) -> None:
        forward = self._forward

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                forward(self.request)

        class Listener(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            request_queue_size = 64

        self._listener = Listener(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def _forward(self, client: socket.socket) -> None:
        """Connect to the server, and copy in both directions until either side ends."""
        self._flowing.wait()
        with contextlib.suppress(OSError), socket.create_connection(self._server) as server:
            with self._lock:
                self._sockets |= {client, server}
            back = threading.Thread(target=self._copy, args=(server, client))
            back.start()
            self._copy(client, server)
            back.join()
            with self._lock:
                self._sockets -= {client, server}

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(65_536):
                self._flowing.wait()
                target.sendall(content)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
