"""Ends a request whose client has gone, so that nothing is computed for nobody."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Disconnects:
    """ASGI middleware that cancels the application's work on a POST when its connection is closed.

    Args:
        app: Wrapped application.
    """

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, which is in memory already (see BodyLimit), then run the application until the client goes."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body, more = list[Message](), True
        while more:
            body.append(await receive())
            more = body[-1]["type"] == "http.request" and body[-1].get("more_body", False)
        if body[-1]["type"] == "http.disconnect":
            return
        gone = asyncio.ensure_future(receive())

        async def replay() -> Message:
            return body.pop(0) if body else await asyncio.shield(gone)

        work = asyncio.ensure_future(self._app(scope, replay, send))
        try:
            # The next message is that the client has gone, or that it has the whole answer.
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await _ended(work)
        finally:
            gone.cancel()
            work.cancel()
        if not work.cancelled():
            work.result()


async def _ended(work: "asyncio.Future[None]") -> None:
    """Cancel work and wait until it has ended; an answer that is complete is given time to be so."""
    await asyncio.sleep(0)
    work.cancel()
    await asyncio.wait((work,))
