"""Command-line options of access and what they say."""

import argparse
import logging
import math
from pathlib import Path
from urllib.parse import urlsplit

from components.shared.errors import InputError
from serving.access.audit import AdminAudit
from serving.access.connections import ConnectionLimits
from serving.access.following import AccessFile
from serving.access.rest import Guard
from serving.access.tls import TlsFiles

logger = logging.getLogger("kserve.shoprank")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    access = "YAML or JSON file of clients and token issuers; it is read again when it changes. Default: open to all."
    parser.add_argument("--access", type=Path, default=None, help=access)
    audit = "Folder of the audit log of admin calls. Default: lines of the process's log alone."
    parser.add_argument("--audit_log", type=Path, default=None, help=audit)
    cert = "PEM certificate chain of REST and gRPC; it is read again when it changes. Default: no TLS."
    parser.add_argument("--tls_cert", type=Path, default=None, help=cert)
    parser.add_argument("--tls_key", type=Path, default=None, help="PEM private key of --tls_cert.")
    ca = "PEM certificates of the authorities that sign clients' certificates, which are then required (mTLS)."
    parser.add_argument("--tls_client_ca", type=Path, default=None, help=ca)
    origin = "Origin whose pages may call from a browser, such as https://shop.example; repeatable. Default: none."
    parser.add_argument("--cors_origin", action="append", default=[], help=origin)
    most = "Open HTTP connections; beyond, the longest idle one is closed. As many gRPC connections. Default: 10000."
    parser.add_argument("--max_connections", type=int, default=10_000, help=most)
    arrival = "Seconds in which an HTTP request must have arrived whole, and a new connection its first. Default: 30."
    parser.add_argument("--max_arrival_s", type=float, default=30.0, help=arrival)


def guard_of(options: argparse.Namespace) -> Guard:
    """What guards the calls.

    Raises:
        InputError: an option or the access file is invalid.
    """
    for origin in options.cors_origin:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.netloc or origin != f"{parts.scheme}://{parts.netloc}":
            raise InputError(f"--cors_origin is '{origin}'", "give scheme and host, such as https://shop.example")
    if options.access is None:
        logger.warning("no --access: whoever reaches the ports may call everything")
    access = AccessFile(options.access) if options.access else None
    return Guard(access, AdminAudit(options.audit_log), tuple(options.cors_origin))


def tls_of(options: argparse.Namespace) -> TlsFiles | None:
    """Certificate and key; --ssl_certfile and --ssl_keyfile are KServe's names of them.

    Raises:
        InputError: they do not fit together, or one cannot be read.
    """
    certificate = options.tls_cert or (Path(options.ssl_certfile) if options.ssl_certfile else None)
    key = options.tls_key or (Path(options.ssl_keyfile) if options.ssl_keyfile else None)
    if (certificate is None) != (key is None):
        raise InputError("one of --tls_cert and --tls_key is missing", "give both, or none")
    if certificate is None or key is None:
        if options.tls_client_ca:
            raise InputError("--tls_client_ca without --tls_cert", "give --tls_cert and --tls_key too")
        return None
    files = TlsFiles(certificate, key, options.tls_client_ca)
    files.check()
    return files


def connection_limits(options: argparse.Namespace) -> ConnectionLimits:
    """Bounds of connections.

    Raises:
        InputError: --max_connections is below 1, or --max_arrival_s not above 0.
    """
    if options.max_connections < 1:
        raise InputError(f"--max_connections is {options.max_connections}", "give a whole number of at least 1")
    if not 0 < options.max_arrival_s < math.inf:
        raise InputError(f"--max_arrival_s is {options.max_arrival_s:g}", "give a number above 0")
    # Answers are larger than requests.
    return ConnectionLimits(
        connections=options.max_connections, arrival_s=options.max_arrival_s, reading_s=2 * options.max_arrival_s
    )
