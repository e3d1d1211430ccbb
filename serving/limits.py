"""Extensions of kserve's HTTP application: a size limit of bodies, and errors that name the field."""

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.access.rest import Admission, Guard, allow_cors
from serving.answered_errors import AnsweredErrors
from serving.batching import DeadlineExceeded, Overloaded
from serving.disconnects import Disconnects
from serving.draining import Draining
from serving.metrics import REFUSED
from serving.model import RefusedRequest
from serving.openapi import describe_v1

MAX_BODY = 1_000_000
"""Maximum bytes of a request, about twice the size of one with 5,000 events of history."""


class BodyLimit:
    """ASGI middleware that answers 413 to bodies over the limit, by Content-Length or bytes received.

    Args:
        app: Wrapped application.
        limit: Maximum bytes.
    """

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY):
        self._app, self._limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body up to the limit, then call the application."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if headers.get(b"content-encoding", b"identity").lower() not in (b"identity", b""):
            # Packed bodies could be a thousand times larger than what counts against the limit.
            await _answer("the body is packed", "send it without content-encoding", 415)(scope, receive, send)
            return
        declared = headers.get(b"content-length", b"0")
        # One buffer: the parts of a body that trickles in would take far more memory than its bytes.
        body, more = bytearray(), not (declared.isdigit() and int(declared) > self._limit)
        too_large, gone = not more, False
        while more:
            message = await receive()
            gone = message["type"] == "http.disconnect"
            body += message.get("body", b"")
            too_large = len(body) > self._limit
            more = message.get("more_body", False) and not too_large and not gone
        if gone:
            return
        if too_large:
            await _answer(f"the body has more than {self._limit} bytes", "send a smaller request", 413)(
                scope, receive, send
            )
            return
        waiting: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return waiting.pop() if waiting else await receive()

        await self._app(scope, replay, send)


def _answer(headline: str, fix: str, status: int) -> JSONResponse:
    """A refusal before the body is read, after which the connection is of no use."""
    REFUSED.labels("body").inc()
    return JSONResponse({"error": f"{headline}; {fix}", "field": ""}, status, {"connection": "close"})


def install(app: FastAPI, drain_file: Path | None = None, guard: Guard | None = None) -> None:
    """Add limits, admission, answers to errors and draining to kserve's application, before it serves."""
    describe_v1(app)
    app.add_middleware(Disconnects)
    app.add_middleware(BodyLimit)
    if guard:
        app.add_middleware(Admission, guard=guard)
    app.add_middleware(AnsweredErrors)
    if guard and guard.origins:
        allow_cors(app, guard.origins)
    if drain_file:
        app.add_middleware(Draining, flag=drain_file)
    app.add_exception_handler(RefusedRequest, _refused)
    app.add_exception_handler(Overloaded, _overloaded)
    app.add_exception_handler(DeadlineExceeded, _late)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _plain)


async def _refused(_: Request, error: Any) -> JSONResponse:
    """400 that names the field; kserve's own handler would log a traceback for every bad request."""
    return JSONResponse({"error": error.headline, "fix": error.fix, "field": error.field}, 400)


async def _overloaded(_: Request, error: Any) -> JSONResponse:
    """429 that says when to try again."""
    fix = "send it again after the seconds of Retry-After"
    return JSONResponse({"error": str(error), "fix": fix, "field": ""}, 429,
                        {"retry-after": str(error.retry_after_s)})  # fmt: skip


async def _late(_: Request, error: Any) -> JSONResponse:
    """504 for a request that waited longer than its client does."""
    fix = "send a longer X-Request-Deadline-Ms, or add replicas"
    return JSONResponse({"error": str(error), "fix": fix, "field": ""}, 504)


async def _malformed(_: Request, error: Any) -> JSONResponse:
    """400 for a malformed V2 body, where FastAPI would answer 422."""
    REFUSED.labels("body").inc()
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    return JSONResponse({"error": f"'{field}': {first['msg']}", "fix": "see the Open Inference Protocol",
                         "field": field}, 400)  # fmt: skip


async def _plain(_: Request, error: Any) -> JSONResponse:
    """FastAPI's own errors (unknown path, V2 body that is not JSON) in the same format."""
    return JSONResponse({"error": str(error.detail), "fix": "see the README for the paths and bodies", "field": ""},
                        error.status_code, error.headers)  # fmt: skip
