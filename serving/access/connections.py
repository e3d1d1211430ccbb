"""HTTP connections within bounds: size of headers, time of a request's arrival, number of connections.

Without them, uvicorn waits without end for a first byte, the rest of a header or body, and a client that does not read.
"""

import asyncio
import resource
import socket
import struct
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

_DROPPING = struct.pack("ii", 1, 0)
"""SO_LINGER that drops what was not sent."""
_SPARE_DESCRIPTORS = 256
"""Files and sockets of everything that is not an HTTP connection."""


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """Bounds of HTTP connections."""

    connections: int = 10_000
    """Open connections; beyond, the longest idle one is closed."""
    header_bytes: int = 32_768
    """Bytes of a request's line and headers together."""
    headers: int = 100
    """Number of headers."""
    arrival_s: float = 30.0
    """Seconds in which a connection must have sent its first request, and any request must have arrived whole."""
    reading_s: float = 60.0
    """Seconds without a byte read by a client for whom an answer waits."""

    def within_descriptors(self) -> "ConnectionLimits":
        """The same with no more connections than the process may open, after its limit was raised where allowed."""
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 2 * self.connections + _SPARE_DESCRIPTORS  # gRPC takes as many
        granted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < granted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (granted, hard))
        most = max(granted, soft)
        return replace(self, connections=max(1, min(self.connections, (most - _SPARE_DESCRIPTORS) // 2)))


def bounded(limits: ConnectionLimits) -> type[asyncio.Protocol]:
    """The HTTP protocol of uvicorn with bounds.

    Args:
        limits: The bounds, of all connections together.
    """
    waiting: OrderedDict[BoundedHttp, None] = OrderedDict()

    class Bounded(BoundedHttp):
        def __init__(self, *arguments: Any, **named: Any):
            super().__init__(limits, waiting, *arguments, **named)

    return Bounded


class BoundedHttp(HttpToolsProtocol):
    """One connection.

    Args:
        limits: The bounds.
        waiting: Connections on which no whole request is in progress, the longest idle first; shared by all.
    """

    def __init__(
        self,
        limits: ConnectionLimits,
        waiting: "OrderedDict[BoundedHttp, None]",
        config: Config,
        *rest: Any,
        **named: Any,
    ):
        super().__init__(config, *rest, **named)
        self._limits, self._waiting = limits, waiting
        self._header_bytes = 0
        self._in_headers, self._refused = True, False
        self._arrival: asyncio.TimerHandle | None = None
        self._reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A new connection, for which an idle one may have to go."""
        super().connection_made(transport)
        self._waiting[self] = None
        self._arrives_within(self._limits.arrival_s)
        if len(self.connections) > self._limits.connections:
            # The newest is last among the idle, so it goes itself if all others are busy.
            oldest, _ = self._waiting.popitem(last=False)
            oldest.cut()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._waiting.pop(self, None)
        for timer in (self._arrival, self._reading):
            if timer:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes of headers before they are parsed, as an endless one is never complete."""
        if self._refused:
            return
        if self._arrival is None and (self.cycle is None or self.cycle.response_complete):
            # Any byte ends uvicorn's wait for another request, even one that begins none.
            self._arrives_within(self._limits.arrival_s)
        if self._in_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_headers and self._header_bytes > self._limits.header_bytes:
            self._refuse()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._in_headers, self._header_bytes = True, 0
        self._arrives_within(self._limits.arrival_s)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; a flood of them is not even parsed to its end."""
        super().on_header(name, value)
        if len(self.headers) > self._limits.headers:
            self._refuse()
            raise ValueError("too many headers")

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, unless it was answered with 431."""
        if not self._refused:
            super().send_400_response(msg)

    def on_headers_complete(self) -> None:
        """All headers are there."""
        if self._refused:
            return
        self._in_headers = False
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._limits.header_bytes:
            self._refuse()
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request has arrived whole."""
        if self._refused:
            return
        super().on_message_complete()
        self._arrived()
        if self.cycle.response_complete:
            # It was refused before it had arrived, and uvicorn waits no more for another one.
            self._arrives_within(self.timeout_keep_alive)
        else:
            self._waiting.pop(self, None)

    def on_response_complete(self) -> None:
        """Idle again, unless another request came behind that one."""
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self._waiting[self] = None
            self._waiting.move_to_end(self)

    def pause_writing(self) -> None:
        """The client reads slower than answers come."""
        super().pause_writing()
        self._reading = self.loop.call_later(self._limits.reading_s, self.cut)

    def resume_writing(self) -> None:
        """The client reads."""
        if self._reading:
            self._reading.cancel()
            self._reading = None
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, by force if its client does not take the rest of an answer."""
        super().timeout_keep_alive_handler()
        self._reading = self.loop.call_later(self._limits.reading_s, self.cut)

    def cut(self) -> None:
        """End the connection at once, and what the kernel holds for a client that does not take it."""
        plain = self.transport.get_extra_info("socket")
        if plain is not None and not self.transport.is_closing():
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROPPING)
        self.transport.abort()

    def _arrives_within(self, seconds: float) -> None:
        self._arrived()
        self._arrival = self.loop.call_later(seconds, self.cut)

    def _arrived(self) -> None:
        if self._arrival:
            self._arrival.cancel()
            self._arrival = None

    def _refuse(self) -> None:
        """431 and the end of the connection."""
        self._refused = True
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            # An answer to a request before it is under way, which no other may interrupt.
            self.cut()
            return
        lines = [STATUS_LINE[431], *(b"%b: %b\r\n" % header for header in self.server_state.default_headers)]
        text = b"the request's line and headers are too large"
        lines += [b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\n",
                  b"content-length: %d\r\n\r\n" % len(text), text]  # fmt: skip
        self.transport.write(b"".join(lines))
        self.transport.close()
        self._reading = self.loop.call_later(self._limits.reading_s, self.cut)
