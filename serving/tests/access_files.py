"""Access files, an issuer of tokens with its key server, and certificates, all made anew for a test."""

import contextlib
import datetime
import http.server
import ipaddress
import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from components.shared.access_keys import key_hash, new_key

AUDIENCE = "shoprank-predictor"


def client(name, scopes, **further):
    """(key, entry of an access file)."""
    key = new_key()
    return key, {"name": name, "keys": [key_hash(key)], "scopes": scopes, **further}


def write_access(path, clients, issuers=(), **further):
    """Write an access file; JSON is YAML."""
    path.write_text(json.dumps({"clients": clients, "issuers": list(issuers), **further}))
    return path


def bearer(credential):
    return {"authorization": f"Bearer {credential}"}


@dataclass
class TokenIssuer:
    """An OpenID Connect provider as far as a verifier sees it: its keys at an address."""

    keys: dict = field(default_factory=dict)
    fetched: int = 0
    url: str = ""

    def add_key(self, name):
        self.keys[name] = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def jwks(self):
        one = jwt.algorithms.RSAAlgorithm.to_jwk
        return {"keys": [{**json.loads(one(key.public_key())), "kid": name, "use": "sig", "alg": "RS256"}
                         for name, key in self.keys.items()]}  # fmt: skip

    def token(self, key_id, *, headers=None, algorithm="RS256", key=None, **claims):
        now = int(time.time())
        whole = {"iss": self.url, "aud": AUDIENCE, "sub": "svc", "exp": now + 300, "iat": now, "scope": "ask", **claims}
        whole = {name: value for name, value in whole.items() if value is not None}
        return jwt.encode(whole, key or self.keys[key_id], algorithm, headers={"kid": key_id, **(headers or {})})

    def entry(self, **further):
        return {"issuer": self.url, "audience": AUDIENCE, "jwks_url": f"{self.url}/jwks", "refetch_s": 1,
                "scopes": ["ask", "explain"], **further}  # fmt: skip


@contextlib.contextmanager
def token_issuer():
    """A running issuer with one key, `first`."""
    issuer = TokenIssuer()
    issuer.add_key("first")

    class Keys(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            issuer.fetched += 1
            body = json.dumps(issuer.jwks()).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keys) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        issuer.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()


class Authority:
    """A certificate authority that signs certificates for 127.0.0.1."""

    def __init__(self, folder: Path, name: str):
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        own = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(True, None), critical=True)
        self.certificate = folder / f"{name}.pem"
        self.certificate.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> tuple[Path, Path]:
        """Write a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        )
        signed = self._builder(subject, key).add_extension(names, critical=False).sign(self._key, hashes.SHA256())
        certificate, private = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        private.write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ))  # fmt: skip
        return certificate, private

    def _builder(self, subject, key):
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )  # fmt: skip
