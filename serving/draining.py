"""Leaving without a failed request: while the pod is being ended, every answer asks the client to connect anew.

Kubernetes takes an ending pod out of its Service, but clients keep the connections that they have; a request on one of
them would meet a closed socket when the process ends.
"""

from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Draining:
    """ASGI middleware that closes connections after their answer while a file exists; the preStop hook makes it.

    Args:
        app: Wrapped application.
        flag: Path of the file.
    """

    def __init__(self, app: ASGIApp, flag: Path):
        self._app, self._flag = app, flag

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; the server closes the connection after an answer with `connection: close`."""

        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start" and self._flag.exists():
                message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
            await send(message)

        await self._app(scope, receive, closing if scope["type"] == "http" else send)
