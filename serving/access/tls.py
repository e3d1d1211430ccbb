"""TLS of both ports: files that are checked at the start and read again when they change."""

import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

import grpc

from components.shared.errors import InputError


@dataclass(frozen=True)
class TlsFiles:
    """PEM files.

    Attributes:
        certificate: chain of the server. key: its private key. client_ca: authorities of clients' certificates, which
            are then required; None: clients need none.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def check(self) -> None:
        """Read the files once.

        Raises:
            InputError: one cannot be read, or the key is not the certificate's.
        """
        for flag, path in (
            ("--tls_cert", self.certificate),
            ("--tls_key", self.key),
            ("--tls_client_ca", self.client_ca),
        ):
            try:
                if path:
                    path.read_bytes()
            except OSError as error:
                raise InputError(f"{flag} {path} cannot be read: {error.strerror}", "give a PEM file") from error
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # An encrypted key would make OpenSSL ask for a password on the terminal.
            context.load_cert_chain(self.certificate, self.key, password=lambda: "")
        except (ssl.SSLError, ValueError) as error:
            raise InputError("--tls_cert and --tls_key are no certificate with its key",
                             "give PEM files of the same pair, the key unencrypted") from error  # fmt: skip
        try:
            if self.client_ca:
                context.load_verify_locations(self.client_ca)
        except ssl.SSLError as error:
            raise InputError(f"--tls_client_ca {self.client_ca} has no certificate", "give a PEM file") from error

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Credentials that follow the files: each handshake takes the present ones."""
        follower = _GrpcFiles(self)
        return grpc.dynamic_ssl_server_credentials(
            follower.configuration(),
            follower.changed,  # pyright: ignore[reportArgumentType]  # the stubs do not know of None: no change
            require_client_authentication=self.client_ca is not None,
        )

    def stamp(self) -> tuple[int, ...]:
        """What changes with the files."""
        return tuple(path.stat().st_mtime_ns for path in (self.certificate, self.key, self.client_ca) if path)


class _GrpcFiles:
    """Reads the files for gRPC when they were changed."""

    def __init__(self, files: TlsFiles):
        self._files, self._seen, self._lock = files, files.stamp(), threading.Lock()

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        """The present files."""
        pair = (self._files.key.read_bytes(), self._files.certificate.read_bytes())
        authorities = self._files.client_ca.read_bytes() if self._files.client_ca else None
        return grpc.ssl_server_certificate_configuration([pair], authorities)

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """The files if they are others than before; None keeps those before."""
        with self._lock:
            try:
                stamp = self._files.stamp()
                if stamp == self._seen:
                    return None
                # While one of two files is replaced they do not fit; the next handshake looks again.
                self._files.check()
                self._seen = stamp
                return self.configuration()
            except (OSError, InputError):
                return None
