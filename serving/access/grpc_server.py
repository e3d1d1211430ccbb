"""The gRPC server: admission by scope and limits, TLS, bounds against hostile clients, errors without a log of values.

KServe's own server has neither credentials nor bounds, and logs refused requests with the values in them.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from serving.access.audit import AdminAudit
from serving.access.gate import Denied
from serving.access.paths import need_of_rpc
from serving.access.rest import Guard

logger = logging.getLogger("kserve.shoprank")

_STATUS = {"key": grpc.StatusCode.UNAUTHENTICATED, "scope": grpc.StatusCode.PERMISSION_DENIED,
           "rate": grpc.StatusCode.RESOURCE_EXHAUSTED, "quota": grpc.StatusCode.RESOURCE_EXHAUSTED}  # fmt: skip

Statuses = Mapping[type[Exception], grpc.StatusCode]
"""Status of each kind of error; of others INTERNAL."""


@dataclass(frozen=True, kw_only=True)
class GrpcConfig:
    """What the server needs."""

    port: int
    register: Callable[[grpc.aio.Server], None]
    """Adds the services."""
    guard: Guard
    statuses: Statuses
    credentials: grpc.ServerCredentials | None = None
    """TLS; None: none."""
    max_message: int = 1_000_000
    """Maximum bytes of a request."""
    max_answer: int = 8_388_608
    """Maximum bytes of an answer."""
    max_connections: int = 10_000
    handshake_s: float = 30.0
    """Seconds in which a new connection must have sent its first frames."""
    threads: int = 4
    grace_s: float = 30.0
    """Seconds for running calls when the server stops."""


class GrpcServer:
    """Serves until stopped, with the methods that kserve.ModelServer calls.

    Args:
        config: See GrpcConfig.
    """

    def __init__(self, config: GrpcConfig):
        self._config = config
        self._server: grpc.aio.Server | None = None

    async def start(self, *_: object) -> None:
        """Serve; returns when stopped."""
        config = self._config
        self._server = grpc.aio.server(
            ThreadPoolExecutor(config.threads), options=_options(config),
            interceptors=(_AdmissionInterceptor(config.guard), _ErrorInterceptor(config.statuses)),
        )  # fmt: skip
        config.register(self._server)
        address = f"[::]:{config.port}"
        if config.credentials:
            self._server.add_secure_port(address, config.credentials)
        else:
            self._server.add_insecure_port(address)
        logger.info("gRPC on %s%s", address, " with TLS" if config.credentials else "")
        await self._server.start()
        await self._server.wait_for_termination()

    async def stop(self, *_: object) -> None:
        """Refuse new calls and let running ones finish."""
        if self._server:
            await self._server.stop(self._config.grace_s)


def _options(config: GrpcConfig) -> list[tuple[str, Any]]:
    return [
        ("grpc.max_receive_message_length", config.max_message),
        ("grpc.max_send_message_length", config.max_answer),
        # A compressed message would be unpacked before its size is known: only `identity` is enabled.
        ("grpc.compression_enabled_algorithms_bitset", 1),
        ("grpc.max_concurrent_streams", 128),
        ("grpc.max_metadata_size", 16_384),
        ("grpc.absolute_max_metadata_size", 32_768),
        # A connection that says nothing: before the first frames, and 5 min between calls.
        ("grpc.server_handshake_timeout_ms", max(1_000, int(1_000 * config.handshake_s))),
        ("grpc.max_connection_idle_ms", 300_000),
        # A peer that is gone is noticed.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.max_allowed_incoming_connections", config.max_connections),
    ]


Handler = Callable[[Any, Any], Awaitable[Any]]
Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]


class _AdmissionInterceptor(grpc.aio.ServerInterceptor):
    """Admits calls by their client's scope and limits, and audits admin calls."""

    def __init__(self, guard: Guard):
        self._guard = guard

    async def intercept_service(self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails) -> Any:
        need, call = need_of_rpc(handler_call_details.method)
        client = ""
        if self._guard.access and need != "open":
            metadata = {name: value for name, value in handler_call_details.invocation_metadata or ()
                        if isinstance(value, str)}  # fmt: skip
            try:
                client = (await self._guard.access.gate().admit(need, metadata)).name
            except Denied as denied:
                if need == "admin" and denied.client:
                    await self._guard.audit.note(denied.client, call, _STATUS[denied.reason].name)
                return _denying(denied)
        handler = await continuation(handler_call_details)
        return _audited(handler, self._guard.audit, client, call) if need == "admin" and handler else handler


def _denying(denied: Denied) -> Any:
    async def deny(_: object, context: Any) -> None:
        if denied.retry_after_s:
            context.set_trailing_metadata((("retry-after", str(denied.retry_after_s)),))
        await context.abort(_STATUS[denied.reason], f"{denied.headline}; {denied.fix}")

    # The request stays bytes: nobody reads what is not admitted.
    return grpc.unary_unary_rpc_method_handler(deny)


def _audited(handler: Any, audit: AdminAudit, client: str, call: str) -> Any:
    async def answer(request: Any, context: Any) -> Any:
        outcome = "OK"
        try:
            return await handler.unary_unary(request, context)
        except BaseException:
            code = context.code()
            outcome = code.name if isinstance(code, grpc.StatusCode) else "no answer"
            raise
        finally:
            await audit.note(client, call, outcome)

    return _like(handler, answer)


class _ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Turns errors into statuses; the client gets the message, the log at most the place of an unexpected error."""

    def __init__(self, statuses: Statuses):
        self._statuses = statuses

    async def intercept_service(self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler

        async def answer(request: Any, context: Any) -> Any:
            if request is _MALFORMED:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request is not the message of this call")
            try:
                return await handler.unary_unary(request, context)
            except grpc.aio.AbortError:
                raise
            except Exception as error:
                for kind, status in self._statuses.items():
                    if isinstance(error, kind):
                        await context.abort(status, getattr(error, "reason", None) or str(error))
                logger.error("gRPC call failed", exc_info=error)
                await context.abort(grpc.StatusCode.INTERNAL, "internal error")

        return grpc.unary_unary_rpc_method_handler(
            answer, _tolerant(handler.request_deserializer), handler.response_serializer
        )


_MALFORMED = object()


def _tolerant(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """A deserializer whose failure is the client's error; gRPC would call it an internal one and log it."""

    def read(content: bytes) -> Any:
        try:
            return deserialize(content)
        except DecodeError:
            return _MALFORMED

    return read


def _like(handler: Any, answer: Handler) -> Any:
    return grpc.unary_unary_rpc_method_handler(answer, handler.request_deserializer, handler.response_serializer)
