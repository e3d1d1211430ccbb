"""`python -m serving --model_dir BUNDLE`: the predictor process with REST and gRPC ports on all interfaces."""

import argparse
import asyncio
import logging
import os
import socket
import sys
from pathlib import Path
from typing import get_args

import grpc
import kserve
from kserve.errors import (
    InferenceError,
    InvalidInput,
    ModelNotFound,
    ModelNotReady,
    ServerNotLive,
    ServerNotReady,
    UnsupportedProtocol,
)
from kserve.logging import configure_logging
from kserve.model_server import app
from kserve.model_server import parser as kserve_parser
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from kserve.protocol.grpc.servicer import InferenceServicer

from components.shared.errors import InputError, ShoprankError
from components.shared.recommender.runtime import RuntimeRecord
from serving.access.connections import ConnectionLimits
from serving.access.grpc_server import GrpcConfig, GrpcServer, Statuses
from serving.access.http_server import secure
from serving.access.options import add_options, connection_limits, guard_of, tls_of
from serving.access.quiet_logs import loop_error, quiet
from serving.access.rest import Guard
from serving.access.tls import TlsFiles
from serving.batching import DeadlineExceeded, Overloaded
from serving.clock import RECENT_DAYS, ClockOption
from serving.config import ModelConfig, default_threads
from serving.exploring import ExplorationConfig, ThompsonConfig, UniformConfig
from serving.limits import MAX_BODY, install
from serving.model import FixedRepository, ShoprankModel, StrictDataPlane
from serving.shadow import ShadowConfig
from serving.state.options import add_state_options, store_of
from serving.state.rest import install_events

logger = logging.getLogger("kserve.shoprank")

_STATUSES: Statuses = {
    InvalidInput: grpc.StatusCode.INVALID_ARGUMENT, InferenceError: grpc.StatusCode.INVALID_ARGUMENT,
    UnsupportedProtocol: grpc.StatusCode.INVALID_ARGUMENT,
    ModelNotFound: grpc.StatusCode.NOT_FOUND, ModelNotReady: grpc.StatusCode.UNAVAILABLE,
    Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED, DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    ServerNotReady: grpc.StatusCode.UNAVAILABLE, ServerNotLive: grpc.StatusCode.UNAVAILABLE,
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped; returns 2 if the options or the bundle are invalid, after printing the error."""
    options = _parser().parse_args(arguments)
    configure_logging(options.log_config_file)
    if not options.enable_latency_logging:
        # kserve logs four lines per request regardless of its flag; /metrics has the same data as histograms.
        logging.getLogger("kserve.trace").setLevel(logging.WARNING)
    try:
        _serve(options)
    except ShoprankError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m serving", parents=[kserve_parser], description=__doc__)
    parser.set_defaults(
        model_name="shoprank", enable_latency_logging=False, grpc_max_receive_message_length=MAX_BODY
    )  # fmt: skip
    parser.add_argument("--model_dir", type=Path, default=Path("/mnt/models"), help="Folder of the bundle.")
    parser.add_argument(
        "--public_key", type=Path, default=None, help="PEM public key to verify the bundle's signature."
    )
    code = "Run a bundle's native code without a signature check; only for bundles that you built yourself."
    parser.add_argument("--unsigned_code", action="store_true", help=code)
    now = (
        "Current time for requests without a timestamp: end of the bundle's data, or system time. "
        f"auto: 'bundle' if the data ended more than {RECENT_DAYS} days ago, else 'system'."
    )
    parser.add_argument("--clock", choices=get_args(ClockOption), default="auto", help=now)
    at_once = "Batches processed in parallel. Default: the usable CPUs, at most 8."
    parser.add_argument("--threads", type=int, default=default_threads(), help=at_once)
    parser.add_argument("--model_threads", type=int, default=1, help="Threads per model call.")
    together = "Requests that wait while others are answered are answered together, at most so many instances."
    parser.add_argument("--max_batch", type=int, default=16, help=together)
    pending = "Requests that may wait or run before others get 429."
    parser.add_argument("--max_pending", type=int, default=256, help=pending)
    remembered = "Megabytes of candidates that are remembered until a shopper's history changes. 0: none."
    parser.add_argument("--cache_mb", type=int, default=64, help=remembered)
    late = "Milliseconds after which a request gets 504, unless its header X-Request-Deadline-Ms says otherwise."
    parser.add_argument("--deadline_ms", type=int, default=30_000, help=late)
    log = "Folder of the inference log: one JSON line per answer, without the shopper id. Default: none."
    parser.add_argument("--inference_log", type=Path, default=None, help=log)
    rules = "YAML or JSON file of rules (`shoprank rules`); it is read again when it changes. Default: none."
    parser.add_argument("--rules", type=Path, default=None, help=rules)
    share = (
        "Share of recommendations with an exploratory item at the last position, logged with propensities. Default: 0."
    )
    parser.add_argument("--explore", type=float, default=None, help=share)
    draw = "Draw the item by Thompson sampling, or uniformly (epsilon-greedy)."
    parser.add_argument("--explore_by", choices=["thompson", "uniform"], default="thompson", help=draw)
    parser.add_argument("--explore_pool", type=int, default=20, help="Number of candidates for the last position.")
    shadow = "Address of another version's predictor that answers copies of live requests. Default: none."
    parser.add_argument("--shadow_url", default="", help=shadow)
    drain = "While this file exists, connections are closed after each answer; a preStop hook makes it. Default: none."
    parser.add_argument("--drain_file", type=Path, default=None, help=drain)
    add_options(parser)
    add_state_options(parser)
    return parser


def _serve(options: argparse.Namespace) -> None:
    _check(options)
    tls, limits, guard = tls_of(options), connection_limits(options), guard_of(options)
    if options.public_key is None:
        _check_unsigned(options)
        logger.warning("no --public_key: the bundle's checksums are verified, its signature is not")
    state = store_of(options)
    model = ShoprankModel(options.model_name, ModelConfig(
        folder=options.model_dir, public_key=options.public_key, clock=options.clock, threads=options.threads,
        model_threads=options.model_threads, max_batch=options.max_batch, max_pending=options.max_pending,
        deadline_ms=options.deadline_ms, cache_mb=options.cache_mb, rules=options.rules,
        inference_log=options.inference_log, exploration=_exploration(options), state=state,
        shadow=_shadow(options),
    ))  # fmt: skip
    model.load()
    server = _Server(options, tls, limits, guard)
    server.dataplane = StrictDataPlane(server.registered_models)
    server.model_repository_extension = FixedRepository(server.registered_models)
    install_events(app, state, lambda: model.loaded().now(), lambda item: model.loaded().knows(item))
    install(app, options.drain_file, guard)
    quiet()
    server.start([model])
    state.close()


class _Server(kserve.ModelServer):
    """kserve's server with TLS of clients, bounded connections and a gRPC server of our own."""

    def __init__(self, options: argparse.Namespace, tls: TlsFiles | None, limits: ConnectionLimits, guard: Guard):
        super().__init__(
            http_port=options.http_port, grpc_port=options.grpc_port, workers=1, enable_grpc=False,
            access_log_format=options.access_log_format, ssl_certfile=None, ssl_keyfile=None,
        )  # fmt: skip
        self.register_exception_handler(loop_error)
        self._tls, self._limits = tls, limits
        config = GrpcConfig(
            port=options.grpc_port, register=self._add_services, guard=guard, statuses=_STATUSES,
            max_message=options.grpc_max_receive_message_length, max_answer=options.grpc_max_send_message_length,
            credentials=tls.grpc_credentials() if tls else None, max_connections=limits.connections,
            handshake_s=limits.arrival_s, threads=options.max_threads,
        )  # fmt: skip
        self._grpc_server = GrpcServer(config) if options.enable_grpc else None

    def _add_services(self, server: grpc.aio.Server) -> None:
        servicer = InferenceServicer(self.dataplane, self.model_repository_extension)
        add_GRPCInferenceServiceServicer_to_server(servicer, server)

    async def _serve(self) -> None:
        """Start what kserve has prepared, with the settings that it does not take."""
        assert self._rest_server is not None
        secure(self._rest_server.config, self._tls, self._limits)
        await asyncio.gather(*self.servers, *([self._grpc_server.start()] if self._grpc_server else []))


def _check_unsigned(options: argparse.Namespace) -> None:
    """Refuse native code without a signature or --unsigned_code; unlike ONNX graphs, it can run arbitrary code."""
    if RuntimeRecord.read(options.model_dir).name == "aotinductor" and not options.unsigned_code:
        raise InputError(
            f"{options.model_dir} contains native code, and there is no --public_key to verify its origin",
            "give --public_key, or --unsigned_code for a bundle that you built yourself",
        )


def _exploration(options: argparse.Namespace) -> ExplorationConfig | None:
    if options.explore is None:
        return None
    if options.inference_log is None:
        raise InputError(
            "--explore without --inference_log", "give a folder; exploration is only useful if it is logged"
        )
    draw = ThompsonConfig() if options.explore_by == "thompson" else UniformConfig()
    return ExplorationConfig(share=options.explore, draw=draw, pool=options.explore_pool)


def _shadow(options: argparse.Namespace) -> ShadowConfig | None:
    if not options.shadow_url:
        return None
    # No option: the arguments of a process are open to everyone on the machine.
    return ShadowConfig(url=options.shadow_url, model=options.model_name, key=os.environ.get("SHOPRANK_SHADOW_KEY", ""))


def _check(options: argparse.Namespace) -> None:
    """Check options before the server starts."""
    if options.workers != 1:
        raise InputError(f"--workers is {options.workers}", "serve with one worker and scale with replicas")
    for name in ("threads", "model_threads", "max_batch", "max_pending", "deadline_ms"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} is {getattr(options, name)}", "give a whole number of at least 1")
    if options.cache_mb < 0:
        raise InputError(f"--cache_mb is {options.cache_mb}", "give megabytes, or 0 to remember nothing")
    ports = {"--http_port": options.http_port, **({"--grpc_port": options.grpc_port} if options.enable_grpc else {})}
    if len(set(ports.values())) < len(ports):
        raise InputError("--http_port and --grpc_port are the same", "give two different ports")
    for flag, port in ports.items():
        _check_port(flag, port)


def _check_port(flag: str, port: int) -> None:
    """Try to bind the port first: grpc silently shares a port in use, and uvicorn exits without a helpful error."""
    if not 1 <= port <= 65_535:
        raise InputError(f"{flag} is {port}", "give a port from 1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError as error:
            raise InputError(
                f"{flag} {port} cannot be used: {error.strerror}",
                "stop the process that listens on it, or give another port",
            ) from error


if __name__ == "__main__":
    sys.exit(main())
