"""Whose model may run in a step: a bundle of the registry is checked before its graphs are opened."""

from pathlib import Path

from components.shared.errors import BundleError
from components.shared.recommender.runtime import RuntimeRecord
from components.shared.release.bundle import Manifest, verify
from components.shared.release.signing import load_public_key


def trusted(bundle: Path, public_key: str) -> Manifest:
    """Check a bundle's files and who signed them.

    Graphs of onnxruntime are data; native code does what its maker wants, so it is never opened without a signature.

    Args:
        bundle: A bundle folder.
        public_key: PEM file of the key that must have signed it; empty: only the files are checked.

    Raises:
        BundleError: a file was changed, another key signed, or it holds native code and there is no key to judge it.
        InputError: the key cannot be read.
    """
    if public_key:
        return verify(bundle, load_public_key(Path(public_key)))
    manifest = verify(bundle, None)
    if RuntimeRecord.read(bundle).name == "aotinductor":
        raise BundleError(
            f"{bundle} holds native code, and no public_key says whose it is",
            "give the public half of the registry's signing key as public_key",
        )
    return manifest
