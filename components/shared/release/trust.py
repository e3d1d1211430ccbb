"""Verifies bundles of the registry before a step runs their models."""

from pathlib import Path

from components.shared.errors import BundleError
from components.shared.recommender.runtime import RuntimeRecord
from components.shared.release.bundle import Manifest, verify
from components.shared.release.signing import load_public_key


def trusted(bundle: Path, public_key: str) -> Manifest:
    """Verify a bundle's files and signature.

    ONNX graphs are data; native code can do anything, so it requires a signature.

    Args:
        bundle: A bundle folder.
        public_key: PEM file of the trusted public key; empty: only the files are verified.

    Raises:
        BundleError: a file was changed, the signature does not match, or it contains native code and no key was given.
        InputError: the key cannot be read.
    """
    if public_key:
        return verify(bundle, load_public_key(Path(public_key)))
    manifest = verify(bundle, None)
    if RuntimeRecord.read(bundle).name == "aotinductor":
        raise BundleError(
            f"{bundle} contains native code, and there is no public_key to verify its origin",
            "give the public key of the registry's signing key as public_key",
        )
    return manifest
