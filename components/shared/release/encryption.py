"""Encryption of bundles at rest: each file becomes a JWE that KServe's storage initializer can decrypt.

JSON Web Encryption (RFC 7516), compact, `dir` with A256GCM; the key is a JWK (RFC 7517) that a Secret or a key broker
provides to the storage initializer. The decrypted result is the signed bundle, which the predictor verifies as usual.
"""

import json
from pathlib import Path

from jwcrypto import jwe, jwk
from jwcrypto.common import JWException, base64url_decode

from components.shared.errors import BundleError, InputError
from components.shared.storage import PRIVATE, atomic_directory, write_text

SUFFIX = ".jwe"
_PROTECTED = {"alg": "dir", "enc": "A256GCM"}


def create_key(path: Path) -> jwk.JWK:
    """Write a new symmetric key of 256 bits, mode 0600.

    Raises:
        InputError: the file exists, or cannot be written.
    """
    if path.exists():
        raise InputError(f"{path} exists", "choose another file; overwriting a key makes its bundles unreadable")
    key = jwk.JWK.generate(kty="oct", size=256)
    write_text(path, key.export_symmetric() + "\n", PRIVATE)
    return key


def load_key(path: Path) -> jwk.JWK:
    """Read a symmetric key.

    Raises:
        InputError: the file is missing, or has no symmetric JWK of 256 bits.
    """
    try:
        key = jwk.JWK.from_json(path.read_text(encoding="utf-8"))
        bits = len(base64url_decode(json.loads(key.export_symmetric())["k"])) * 8
    except OSError as error:
        raise InputError(
            f"cannot read the key {path}: {error.strerror}", "create one with: shoprank bundle key"
        ) from error
    except (JWException, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a symmetric JWK", "create one with: shoprank bundle key") from error
    if bits != 256:
        raise InputError(f"the key {path} has {bits} bits, not 256", "create one with: shoprank bundle key")
    return key


def encrypt(bundle: Path, out: Path, key: jwk.JWK) -> int:
    """Write every file of `bundle` to `out` as NAME.jwe; empty files stay as they are.

    Returns:
        Number of files.

    Raises:
        InputError: a file cannot be read, or the folder is not writable.
    """
    with atomic_directory(out) as folder:
        files = [path for path in sorted(bundle.rglob("*")) if path.is_file()]
        for path in files:
            target = folder / path.relative_to(bundle)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not path.stat().st_size:
                # jwcrypto, which KServe uses too, treats an empty plaintext as a failure; empty files are copied.
                target.touch()
                continue
            token = jwe.JWE(path.read_bytes(), protected=json.dumps(_PROTECTED))
            token.add_recipient(key)
            target.with_name(target.name + SUFFIX).write_text(token.serialize(compact=True), encoding="ascii")
    return len(files)


def decrypt(encrypted: Path, out: Path, key: jwk.JWK) -> int:
    """Decrypt a bundle to `out`.

    Returns:
        Number of files.

    Raises:
        BundleError: a file was changed, has another format, or was encrypted with another key.
    """
    with atomic_directory(out) as folder:
        files = [path for path in sorted(encrypted.rglob("*")) if path.is_file()]
        for path in files:
            target = folder / path.relative_to(encrypted)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not path.stat().st_size:
                target.touch()
                continue
            if path.suffix != SUFFIX:
                raise BundleError(
                    f"{path} is not encrypted", "encrypt all files of the bundle: shoprank bundle encrypt"
                )
            token = jwe.JWE()
            try:
                token.deserialize(path.read_text(encoding="ascii"))
                if token.jose_header != _PROTECTED:
                    raise BundleError(f"{path} is encrypted as {token.jose_header}, not {_PROTECTED}",
                                      "encrypt it again: shoprank bundle encrypt")  # fmt: skip
                token.decrypt(key)
            except (JWException, ValueError) as error:
                raise BundleError(f"{path} cannot be decrypted: {error}",
                                  "give the key it was encrypted with, or copy the file again") from error  # fmt: skip
            target.with_suffix("").write_bytes(token.payload)
    return len(files)
