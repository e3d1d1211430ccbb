"""Answers a request that failed without ending its connection.

Starlette raises an error again after it has answered 500, and uvicorn then closes the connection without having said
so; a gateway that sends its next request on it answers 503 to a client that has nothing to do with the error.
"""

import logging

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOG = logging.getLogger(__name__)


class AnsweredErrors:
    """ASGI middleware that answers errors of the application with 500, in the words of KServe.

    Args:
        app: Wrapped application.
    """

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; an error after the beginning of an answer ends the connection, as nothing else can."""
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:
            if scope["type"] != "http" or begun:
                raise
            _LOG.error("request failed", exc_info=error)
            await JSONResponse({"error": f"{type(error).__name__} : {error}"}, 500)(scope, receive, send)
