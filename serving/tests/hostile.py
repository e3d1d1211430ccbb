"""Clients that want to occupy or fill a server, and what became of each: raw sockets, as no client library would."""

import contextlib
import functools
import gzip
import socket
import struct
import threading
import time

PREDICT = "/v1/models/shoprank:predict"
CLOSED, STILL_OPEN = "closed", "still open"


def connect(port, timeout_s=60.0):
    return socket.create_connection(("127.0.0.1", port), timeout_s)


def answer_to(port, *parts, timeout_s=60.0):
    """Status of what a server answers to bytes, CLOSED without one, or STILL_OPEN."""
    with connect(port, timeout_s) as client:
        return _answered(client, parts)


def _answered(client, parts):
    received = b""
    try:
        for part in parts:
            client.sendall(part)
    except OSError:
        pass  # it closed while we were sending; it may have answered before
    try:
        while b"\r\n" not in received and (got := client.recv(4096)):
            received += got
    except TimeoutError:
        return STILL_OPEN
    except OSError:
        pass
    return int(received.split(b" ", 2)[1]) if received.startswith(b"HTTP/1.1 ") else CLOSED


def post(headers=b"", body=b"", length=None):
    length = len(body) if length is None else length
    return b"POST %b HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n%b\r\n%b" % (
        PREDICT.encode(), length, headers, body
    )  # fmt: skip


def trickled(port, start, byte, pause_s, most_s):
    """Seconds until a server closes a connection on which a byte arrives now and then; None: it never did."""
    with connect(port) as client:
        client.sendall(start)
        client.settimeout(pause_s)
        started = time.monotonic()
        while time.monotonic() - started < most_s:
            try:
                client.sendall(byte)
                if client.recv(4096) == b"":
                    return time.monotonic() - started
            except TimeoutError:
                continue
            except OSError:
                return time.monotonic() - started
    return None


def silent(port, most_s, sent=b""):
    """Seconds until a server closes a connection that says nothing more; None: it never did."""
    with connect(port, most_s) as client:
        client.sendall(sent)
        started = time.monotonic()
        try:
            while client.recv(65_536):
                pass
        except TimeoutError:
            return None
        except OSError:
            pass
        return time.monotonic() - started


def not_reading(port, request, times, most_s):
    """Seconds until a server gives up a client that asks and reads nothing; None: it never did."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(most_s)
        client.connect(("127.0.0.1", port))
        started = time.monotonic()

        def ask():
            with contextlib.suppress(OSError):
                client.sendall(request * times)

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        try:
            while time.monotonic() - started < most_s:
                # An abort shows as an error of the socket without reading what was answered.
                if client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    return time.monotonic() - started
                state = struct.unpack("B", client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1))[0]
                if state not in (1, 2):  # neither established nor opening
                    return time.monotonic() - started
                time.sleep(0.05)
            return None
        finally:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            asking.join(10)


@contextlib.contextmanager
def idle(port, count):
    """Open many connections that say nothing; yields them."""
    held = []
    try:
        for _ in range(count):
            held.append(connect(port))
        yield held
    finally:
        for one in held:
            one.close()


@functools.cache
def packed(size):
    """A gzip bomb: this many zeros, about a thousandth as large."""
    return gzip.compress(b'{"instances": [' + b" " * size + b"{}]}", 9)
