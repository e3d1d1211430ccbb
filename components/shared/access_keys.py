"""Keys of the predictor's clients: 256 random bits, of which a server keeps only the hash."""

import hashlib
import re
import secrets
from typing import Literal, get_args

Scope = Literal["ask", "explain", "events", "admin"]
"""What a client may call: recommendations and searches, explanations, sending events, managing the server."""
SCOPES: tuple[Scope, ...] = get_args(Scope)

CLIENT_NAME = r"[A-Za-z0-9][A-Za-z0-9 ._@:-]{0,79}"
"""Pattern of names of clients."""
HASH = r"sha256:[0-9a-f]{64}"
"""Pattern of what `key_hash` returns."""

_PREFIX = "shoprank_"
_KEY = re.compile(rf"{_PREFIX}[A-Za-z0-9_-]{{43}}")


def new_key() -> str:
    """A new key; its prefix lets scanners find it where it was left by mistake."""
    return _PREFIX + secrets.token_urlsafe(32)


def is_key(text: str) -> bool:
    """Whether a text has the form of a key."""
    return _KEY.fullmatch(text) is not None


def key_hash(key: str) -> str:
    """What a server keeps of a key.

    A plain SHA-256 suffices: slow, salted hashes protect what people choose, and nobody guesses 256 random bits.
    """
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
