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
from components.shared.storage import PRIVATE, make_folder, write_bytes

ALGORITHM = "ed25519"


PRIVATE_FILE = "signing.pem"
"""Name of the private key in its Secret and in a folder; the public half is `public_path` of it."""

PUBLIC_VARIABLE = "SHOPRANK_SIGNING_PUBLIC_KEY"
"""Environment variable with the public half that the Secret of the private key holds, for steps that do not sign."""

_CREATE = "create the pair with: shoprank keys create"


def load_key(path: Path) -> Ed25519PrivateKey:
    """Read a PEM private key.

    Raises:
        InputError: the file is missing or is not an unencrypted Ed25519 private key.
    """
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise InputError(f"cannot read the signing key {path}: {error.strerror}",
                         f"{_CREATE}, and mount its Secret") from error  # fmt: skip
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is not an unencrypted PEM private key", _CREATE) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path} is not an Ed25519 key", _CREATE)
    return key


def create_key(path: Path) -> bool:
    """Write a new key (mode 0600) and its public half (`path`.pub, 0644), unless the key exists.

    Safe for concurrent creation: all processes find the same key. Only commands on a machine of one's own create keys;
    the steps of a pipeline do not.

    Returns:
        Whether it was created.

    Raises:
        InputError: the folder cannot be written, or the existing key cannot be read.
    """
    try:
        created = not path.exists() and _create(path)
    except OSError as error:
        raise InputError(
            f"cannot create the signing key {path}: {error.strerror}", "choose a file in a writable folder"
        ) from error
    key = load_key(path)
    if not public_path(path).exists():
        # A key may be mounted read-only; its public half is then mounted from elsewhere.
        with contextlib.suppress(InputError):
            write_bytes(public_path(path), public_pem(key.public_key()))
    return created


def load_or_create_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key after `create_key`. Errors: see there."""
    create_key(path)
    return load_key(path)


def check_pair(signing: Ed25519PublicKey, public_key: Path, signer: str) -> None:
    """Check that bundles of a signer are accepted where a public key is trusted.

    Args:
        signing: Public half of the key that signs.
        public_key: PEM file of the trusted key.
        signer: Where the key that signs is, for the message.

    Raises:
        InputError: the files do not belong together, or the trusted key cannot be read.
    """
    trusted = load_public_key(public_key)
    if fingerprint(trusted) != fingerprint(signing):
        raise InputError(
            f"the key {signer} (public half {fingerprint(signing)[:16]}) does not belong to the public key "
            f"{public_key} ({fingerprint(trusted)[:16]}): predictors would refuse its bundles",
            "make Secret and ConfigMap of one pair: shoprank keys create --namespace NAMESPACE --apply",
        )


def load_public_key(path: Path) -> Ed25519PublicKey:
    """Read a PEM public key.

    Raises:
        InputError: the file is missing or is not an Ed25519 public key.
    """
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read the public key {path}: {error.strerror}", "give the .pub file of the signing key"
        ) from error
    return parse_public_key(pem, path)


def parse_public_key(pem: bytes, where: Path | str) -> Ed25519PublicKey:
    """Read a PEM public key from bytes; `where` is where they come from.

    Raises:
        InputError: they are not an Ed25519 public key.
    """
    try:
        key = serialization.load_pem_public_key(pem)
    except ValueError as error:
        raise InputError(f"{where} is not a PEM public key", "give the .pub file of the signing key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{where} is not an Ed25519 key", "give the .pub file of an Ed25519 signing key")
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


def public_pem(key: Ed25519PublicKey) -> bytes:
    """PEM of a public key."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def private_pem(key: Ed25519PrivateKey) -> bytes:
    """PEM of a private key, unencrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _create(path: Path) -> bool:
    make_folder(path.parent)
    pem = private_pem(Ed25519PrivateKey.generate())
    temporary = path.with_name(f".{path.name}.partial-{os.getpid()}")
    write_bytes(temporary, pem, PRIVATE)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True
