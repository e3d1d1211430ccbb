"""Ed25519 signatures (RFC 8032) over the exact bytes of a bundle's manifest, and the signing keys.

The signature contains only the key's fingerprint; the verifier gets the trusted key separately, not from the bundle.
"""

import base64
import binascii
import contextlib
import hashlib
import json
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from components.shared.errors import BundleError, InputError

ALGORITHM = "ed25519"


def load_or_create_key(path: Path) -> Ed25519PrivateKey:
    """Read the PEM private key at `path`; create it (mode 0600, public half in `path`.pub) if it does not exist.

    Safe for concurrent creation: all processes get the same key.

    Raises:
        InputError: the file is not an Ed25519 private key, or is not writable.
    """
    try:
        if not path.exists():
            _create(path)
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise InputError(
            f"cannot read or create the signing key {path}: {error.strerror}", "choose a file in a writable folder"
        ) from error
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path} is not an unencrypted PEM private key", "remove it to create a new key, or choose another file"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path} is not an Ed25519 key", "create one with: openssl genpkey -algorithm ed25519")
    public = public_path(path)
    if not public.exists():
        # A key may be mounted read-only; its public key is then written when needed.
        with contextlib.suppress(OSError):
            public.write_bytes(_public_pem(key.public_key()))
    return key


def load_public_key(path: Path) -> Ed25519PublicKey:
    """Read a PEM public key.

    Raises:
        InputError: the file is missing or is not an Ed25519 public key.
    """
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"cannot read the public key {path}: {error.strerror}", "give the .pub file of the signing key"
        ) from error
    except ValueError as error:
        raise InputError(f"{path} is not a PEM public key", "give the .pub file of the signing key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{path} is not an Ed25519 key", "give the .pub file of an Ed25519 signing key")
    return key


def public_path(private: Path) -> Path:
    """Path of the public key of a private key file."""
    return private.with_name(private.name + ".pub")


def fingerprint(key: Ed25519PublicKey) -> str:
    """SHA-256 of the raw public key, hex."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()


def signature_text(manifest: bytes, key: Ed25519PrivateKey) -> str:
    """Detached signature of `manifest` as JSON."""
    signature = {
        "algorithm": ALGORITHM,
        "public_key_sha256": fingerprint(key.public_key()),
        "signature": base64.b64encode(key.sign(manifest)).decode(),
    }
    return json.dumps(signature, indent=2, sort_keys=True) + "\n"


def check_signature(manifest: bytes, text: bytes, key: Ed25519PublicKey, where: Path) -> None:
    """Verify that `key` signed exactly these bytes.

    Raises:
        BundleError: names the signature file and whether its format, its key or the manifest is wrong.
    """
    fix = "copy the bundle again from the registry, or give the public key of its signer"
    try:
        found = json.loads(text)
        algorithm, signer = found["algorithm"], found["public_key_sha256"]
        signature = base64.b64decode(found["signature"], validate=True)
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise BundleError(f"{where} is not a signature", fix) from error
    if algorithm != ALGORITHM:
        raise BundleError(f"{where}: algorithm '{algorithm}', not {ALGORITHM}", fix)
    if signer != fingerprint(key):
        raise BundleError(f"{where} was made with another key ({str(signer)[:16]})", fix)
    try:
        key.verify(signature, manifest)
    except InvalidSignature as error:
        raise BundleError(f"{where} does not match bundle.json: one of them was changed", fix) from error


def _public_pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    temporary = path.with_name(f".{path.name}.partial-{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(pem)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return
    finally:
        temporary.unlink()
