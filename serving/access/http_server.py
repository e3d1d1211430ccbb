"""Settings of uvicorn: TLS, security headers of every answer, bounded connections."""

import ssl

from uvicorn.config import Config

from serving.access.connections import ConnectionLimits, bounded
from serving.access.tls import TlsFiles

SECURITY_HEADERS = (
    ("x-content-type-options", "nosniff"),
    ("cache-control", "no-store"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
)
"""Answers are data for programs: nothing of them may be kept, guessed to be a page, or shown in one."""
HSTS = ("strict-transport-security", "max-age=31536000")


def secure(config: Config, tls: TlsFiles | None, limits: ConnectionLimits) -> None:
    """Change the settings of a server that has not started.

    Args:
        config: Settings of uvicorn.
        tls: Certificate and key; None: plain HTTP.
        limits: Bounds of connections.
    """
    config.http = bounded(limits.within_descriptors())
    config.ws = "none"
    config.server_header = False
    config.headers = [*SECURITY_HEADERS, *([HSTS] if tls else [])]
    if tls:
        config.ssl_certfile, config.ssl_keyfile = tls.certificate, tls.key
        if tls.client_ca:
            config.ssl_ca_certs, config.ssl_cert_reqs = tls.client_ca, ssl.CERT_REQUIRED
