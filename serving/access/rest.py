"""ASGI middleware that admits HTTP requests by their client's scope and limits, and audits admin calls."""

from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.access.audit import AdminAudit
from serving.access.following import AccessFile
from serving.access.gate import Denied
from serving.access.paths import need_of

_STATUS = {"key": 401, "scope": 403, "rate": 429, "quota": 429}


@dataclass(frozen=True)
class Guard:
    """What guards the calls of a predictor.

    Attributes:
        access: clients and issuers; None: everything is open. audit: audit of admin calls. origins: pages of other
            origins whose scripts may call (CORS).
    """

    access: AccessFile | None
    audit: AdminAudit
    origins: tuple[str, ...] = ()


class Admission:
    """Answers 401, 403 or 429 to what is not allowed, before its body is read; `state` has the client's name.

    Args:
        app: Wrapped application.
        guard: Clients and audit.
    """

    def __init__(self, app: ASGIApp, guard: Guard):
        self._app, self._guard = app, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit or answer."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            # The predictor has no web sockets.
            return await send({"type": "websocket.close", "code": 1008})
        gate = self._guard.access.gate() if self._guard.access else None
        need, call = need_of(scope["method"], scope["path"], gate.metrics_scope if gate else None)
        client = ""
        if gate and need != "open":
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
            try:
                client = (await gate.admit(need, headers)).name
            except Denied as denied:
                if need == "admin" and denied.client:
                    await self._guard.audit.note(
                        denied.client, f"{scope['method']} {call}", str(_STATUS[denied.reason])
                    )
                return await _answer(denied)(scope, receive, send)
        scope.setdefault("state", {})["client"] = client
        if "/versions/" in scope["path"] or _asks_for_version(scope["query_string"]):
            # KServe knows both ways to name one, and answers 501.
            return await _NO_VERSIONS(scope, receive, send)
        if need == "admin" and scope["path"].startswith("/v"):
            return await self._audited(scope, receive, send, client, f"{scope['method']} {call}")
        return await self._app(scope, receive, send)

    async def _audited(self, scope: Scope, receive: Receive, send: Send, client: str, call: str) -> None:
        outcome = "no answer"

        async def noting(message: Message) -> None:
            nonlocal outcome
            if message["type"] == "http.response.start":
                outcome = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            await self._guard.audit.note(client, call, outcome)


def _asks_for_version(query: bytes) -> bool:
    return b"model" in query and any(name == "model_version" for name, _ in parse_qsl(query.decode("latin-1")))


_NO_VERSIONS = JSONResponse(
    {
        "error": "a predictor serves one version",
        "fix": "leave /versions/... and model_version out of the address",
        "field": "",
    },
    404,
)


def _answer(denied: Denied) -> Response:
    headers = {}
    if denied.reason == "key":
        headers["www-authenticate"] = 'Bearer realm="shoprank"'
    if denied.reason == "scope":
        headers["www-authenticate"] = 'Bearer realm="shoprank", error="insufficient_scope"'
    if denied.retry_after_s:
        headers["retry-after"] = str(denied.retry_after_s)
    content = {"error": denied.headline, "fix": denied.fix, "field": ""}
    return JSONResponse(content, _STATUS[denied.reason], headers)


def allow_cors(app: Starlette, origins: tuple[str, ...]) -> None:
    """Let pages of these origins call; around the admission, as browsers ask first without a key.

    No cookies: a client is known by its key or token alone.
    """
    app.add_middleware(
        CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type", "x-api-key", "x-request-id"],
        expose_headers=["retry-after", "www-authenticate"], max_age=600,
    )  # fmt: skip
