"""The platform's certificates: one authority, and a certificate for each server and user."""

import base64
import datetime
import ipaddress
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Authority:
    """A certificate authority.

    Attributes:
        folder: of all keys and certificates.
    """

    folder: Path

    @property
    def ca(self) -> Path:
        """Certificate of the authority."""
        return self.folder / "ca.crt"

    @cached_property
    def _own(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("shoprank-platform")
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        made = _builder(name, name, key).add_extension(constraints, critical=True).sign(key, hashes.SHA256())
        _write(self.folder / "ca", key, made)
        return key, made

    def certificate(self, file: str, name: str, groups: tuple[str, ...] = (), hosts: tuple[str, ...] = ()) -> Path:
        """Make a key and certificate, for servers and clients alike.

        Args:
            file: Name of the files `file.crt` and `file.key`.
            name: Common name: a user of the cluster.
            groups: Organisations: groups of the user.
            hosts: Names and addresses of a server.

        Returns:
            The certificate; the key lies beside it.
        """
        authority, issuer = self._own
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([_alternative(host) for host in hosts])
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = _builder(_name(name, groups), issuer.subject, key).add_extension(usage, critical=False)
        made = (builder.add_extension(names, critical=False) if hosts else builder).sign(authority, hashes.SHA256())
        _write(self.folder / file, key, made)
        return self.folder / f"{file}.crt"

    def kubeconfig(self, path: Path, server: str, credentials: dict[str, str]) -> Path:
        """Write a kubeconfig that holds all it needs."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        content = {
            "apiVersion": "v1", "kind": "Config", "current-context": "platform",
            "clusters": [{"name": "platform", "cluster": {
                "server": server, "certificate-authority-data": encoded(self.ca)}}],
            "users": [{"name": "user", "user": credentials}],
            "contexts": [{"name": "platform", "context": {"cluster": "platform", "user": "user"}}],
        }  # fmt: skip
        path.write_text(json.dumps(content))
        path.chmod(0o600)
        return path


def encoded(path: Path) -> str:
    """The content of a file in base64, as kubeconfigs and webhooks hold it."""
    return base64.b64encode(path.read_bytes()).decode()


def service_account_key(path: Path) -> Path:
    """Make the key that signs the tokens of service accounts."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path.write_bytes(_pem(key))
    return path


def _name(common: str, groups: tuple[str, ...] = ()) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=30))
    )  # fmt: skip


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _write(path: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    path.with_suffix(".key").touch(mode=0o600)
    path.with_suffix(".key").write_bytes(_pem(key))
    path.with_suffix(".crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
