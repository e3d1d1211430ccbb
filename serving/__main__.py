"""`python -m serving --model_dir BUNDLE`: the predictor process, on REST and gRPC ports of all interfaces."""

import argparse
import logging
import socket
import sys
from pathlib import Path
from typing import get_args

import kserve
from kserve.logging import configure_logging
from kserve.model_server import app
from kserve.model_server import parser as kserve_parser

from components.shared.errors import InputError, ShoprankError
from components.shared.recommender.runtime import RuntimeRecord
from serving.clock import RECENT_DAYS, ClockOption
from serving.exploring import ExplorationConfig, ThompsonConfig, UniformConfig
from serving.limits import install
from serving.model import FixedRepository, ModelConfig, ShoprankModel, StrictDataPlane, default_threads
from serving.shadow import ShadowConfig

logger = logging.getLogger("kserve.shoprank")


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped; 2 after an error that a person can fix, told in two lines."""
    options = _parser().parse_args(arguments)
    configure_logging(options.log_config_file)
    if not options.enable_latency_logging:
        # Four lines a request, whatever kserve's own flag says; /metrics has the same as histograms.
        logging.getLogger("kserve.trace").setLevel(logging.WARNING)
    try:
        _serve(options)
    except ShoprankError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m serving", parents=[kserve_parser], description=__doc__)
    parser.set_defaults(model_name="shoprank", enable_latency_logging=False)
    parser.add_argument("--model_dir", type=Path, default=Path("/mnt/models"), help="The bundle.")
    parser.add_argument("--public_key", type=Path, default=None, help="PEM key that must have signed the bundle.")
    code = "Run a bundle's native code without --public_key; for bundles that you made yourself."
    parser.add_argument("--unsigned_code", action="store_true", help=code)
    now = (
        "'Now' when a request does not say: the end of the bundle's data, or the system's time. "
        f"auto: 'bundle' for data that ended more than {RECENT_DAYS} days ago, else 'system'."
    )
    parser.add_argument("--clock", choices=get_args(ClockOption), default="auto", help=now)
    at_once = "Requests answered at once. Default: the CPUs that the process may use, at most 8."
    parser.add_argument("--threads", type=int, default=default_threads(), help=at_once)
    parser.add_argument("--model_threads", type=int, default=1, help="Threads of one call of a graph.")
    parser.add_argument("--max_pending", type=int, default=256, help="Requests that may wait before 503.")
    log = "Folder of the inference log: one JSON line an answer, without the shopper. Default: none."
    parser.add_argument("--inference_log", type=Path, default=None, help=log)
    share = "Share of recommendations that explore at their last position; propensities go to the log. Default: none."
    parser.add_argument("--explore", type=float, default=None, help=share)
    draw = "Drawn by Thompson sampling, or all alike (epsilon-greedy)."
    parser.add_argument("--explore_by", choices=["thompson", "uniform"], default="thompson", help=draw)
    parser.add_argument("--explore_pool", type=int, default=20, help="Items that compete for the last position.")
    shadow = "Address of another version's predictor that answers copies of live requests. Default: none."
    parser.add_argument("--shadow_url", default="", help=shadow)
    return parser


def _serve(options: argparse.Namespace) -> None:
    _check(options)
    if options.public_key is None:
        _check_unsigned(options)
        logger.warning("no --public_key: the bundle's files are checked, not who signed them")
    model = ShoprankModel(options.model_name, ModelConfig(
        folder=options.model_dir, public_key=options.public_key, clock=options.clock, threads=options.threads,
        model_threads=options.model_threads, max_pending=options.max_pending, inference_log=options.inference_log,
        exploration=_exploration(options),
        shadow=ShadowConfig(url=options.shadow_url, model=options.model_name) if options.shadow_url else None,
    ))  # fmt: skip
    model.load()
    server = kserve.ModelServer(
        http_port=options.http_port, grpc_port=options.grpc_port, workers=1, enable_grpc=options.enable_grpc,
        access_log_format=options.access_log_format,
    )  # fmt: skip
    server.dataplane = StrictDataPlane(server.registered_models)
    server.model_repository_extension = FixedRepository(server.registered_models)
    install(app)
    server.start([model])


def _check_unsigned(options: argparse.Namespace) -> None:
    """Graphs of onnxruntime are data; native code does what its maker wants, so somebody must answer for it."""
    if RuntimeRecord.read(options.model_dir).name == "aotinductor" and not options.unsigned_code:
        raise InputError(
            f"{options.model_dir} holds native code, and no --public_key says whose it is",
            "give --public_key, or --unsigned_code for a bundle that you made yourself",
        )


def _exploration(options: argparse.Namespace) -> ExplorationConfig | None:
    if options.explore is None:
        return None
    if options.inference_log is None:
        raise InputError("--explore without --inference_log", "name a folder; unlogged, exploring teaches nothing")
    draw = ThompsonConfig() if options.explore_by == "thompson" else UniformConfig()
    return ExplorationConfig(share=options.explore, draw=draw, pool=options.explore_pool)


def _check(options: argparse.Namespace) -> None:
    """Refuse what would fail later and worse."""
    if options.workers != 1:
        raise InputError(f"--workers is {options.workers}", "serve with one worker and scale with replicas")
    for name in ("threads", "model_threads", "max_pending"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} is {getattr(options, name)}", "give a whole number of at least 1")
    ports = {"--http_port": options.http_port, **({"--grpc_port": options.grpc_port} if options.enable_grpc else {})}
    if len(set(ports.values())) < len(ports):
        raise InputError("--http_port and --grpc_port are the same", "give two different ports")
    for flag, port in ports.items():
        _check_port(flag, port)


def _check_port(flag: str, port: int) -> None:
    """A probe: grpc shares a taken port in silence and uvicorn ends without a word of ours."""
    if not 1 <= port <= 65_535:
        raise InputError(f"{flag} is {port}", "give a port from 1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError as error:
            raise InputError(
                f"{flag} {port} cannot be used: {error.strerror}", "stop what listens there, or give another port"
            ) from error


if __name__ == "__main__":
    sys.exit(main())
