"""A TCP proxy that breaks connections after a number of bytes, in whichever direction they go."""

import contextlib
import socket
import socketserver
import struct
import threading


class CuttingProxy:
    """Forwards connections of 127.0.0.1 to a server until a number of bytes has passed in all.

    Args:
        server: Port of the server on 127.0.0.1.
        after: Bytes that pass before the cut; None: all.
        once: Whether later connections pass untouched, as after a short fault; else none gets through.
    """

    def __init__(self, server: int, after: int | None, once: bool = True):
        self._server, self._left, self._once = server, after, once
        self._lock, self.passed, self.cuts = threading.Lock(), 0, 0
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                outer._forward(self.request)

        class Listener(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False
            allow_reuse_address = True

        self._listener = Listener(("127.0.0.1", 0), Handler)
        self.port = self._listener.server_address[1]
        threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.shutdown()
        self._listener.server_close()

    def _forward(self, client):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._server)) as server:
            back = threading.Thread(target=self._copy, args=(server, client, (server, client)), daemon=True)
            back.start()
            self._copy(client, server, (server, client))
            back.join()

    def _copy(self, source, target, both):
        with contextlib.suppress(OSError):
            while content := source.recv(65_536):
                passing, cut = self._passing(content)
                target.sendall(passing)
                if cut:
                    return self._break(both)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _passing(self, content):
        with self._lock:
            if self._left is None:
                self.passed += len(content)
                return content, False
            passing = content[: self._left]
            self._left -= len(passing)
            self.passed += len(passing)
            if self._left > 0:
                return passing, False
            self.cuts += 1
            if self._once:
                self._left = None
            return passing, True

    def _break(self, both):
        """End both connections; the client's is reset, so that nothing looks like a regular end."""
        for one in both:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            both[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
