"""JSON Web Tokens (RFC 7519) of OpenID Connect providers, verified with the keys of a JWK Set (RFC 7517)."""

import asyncio
import contextlib
import json
import logging
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt

from components.shared.access_keys import SCOPES
from serving.access.config import Issuer

logger = logging.getLogger("kserve.shoprank")

_MAX_KEYS_BYTES = 1_000_000
_MAX_TOKEN = 8_192
_MAX_NAME = 200
_FETCH_S = 5.0


class InvalidToken(Exception):
    """A token that is not accepted; the message holds nothing of it."""


class IssuerKeys:
    """The public keys of an issuer, by their ids; fetched when first needed, when stale and for an unknown id.

    Args:
        issuer: Where they are and how often to look.
    """

    def __init__(self, issuer: Issuer):
        self._issuer = issuer
        self._keys: list[_PublicKey] = []
        self._fetched, self._tried = -float("inf"), -float("inf")
        self._lock = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None

    async def key(self, key_id: str | None, algorithm: str) -> Any:
        """The public key of a token, as an object of cryptography.

        Raises:
            InvalidToken: there is no such key, or the keys cannot be had.
        """
        found = self._find(key_id, algorithm)
        if found is None:
            await self._refetch()
            found = self._find(key_id, algorithm)
        elif time.monotonic() - self._fetched > self._issuer.refresh_s and not self._lock.locked():
            # Nobody waits for it: the issuer may be slow or away.
            self._refreshing = asyncio.create_task(self._refetch())
        if found is None:
            raise InvalidToken("the issuer has no such key")
        return found.key

    def _find(self, key_id: str | None, algorithm: str) -> "_PublicKey | None":
        usable = [key for key in self._keys if key.fits(algorithm)]
        named = [key for key in usable if key.key_id == key_id] if key_id is not None else usable
        # Which of several keys a token without an id means is not guessed.
        return named[0] if len(named) == 1 else None

    async def _refetch(self) -> None:
        """Fetch the keys unless that was tried just now; one at a time."""
        async with self._lock:
            if time.monotonic() - self._tried >= self._issuer.refetch_s:
                self._tried = time.monotonic()
                await self._fetch()

    async def _fetch(self) -> None:
        """Replace the keys; those before stay if it fails."""
        try:
            content = await asyncio.to_thread(self._read)
            self._keys = _public_keys(json.loads(content))
        except (OSError, ValueError, RecursionError, httpx.HTTPError) as error:
            logger.error("the keys of %s cannot be read: %s", self._issuer.issuer, type(error).__name__)
            return
        self._fetched = time.monotonic()

    def _read(self) -> bytes:
        if self._issuer.jwks_file is not None:
            return Path(self._issuer.jwks_file).read_bytes()
        address = str(self._issuer.jwks_url)
        verify = ssl.create_default_context(cafile=self._issuer.jwks_ca) if address.startswith("https") else False
        proxies = not address.startswith("http://")
        content = b""
        with (
            httpx.Client(verify=verify, timeout=_FETCH_S, trust_env=proxies) as client,
            client.stream("GET", address) as answer,
        ):
            answer.raise_for_status()
            for part in answer.iter_bytes():
                content += part
                if len(content) > _MAX_KEYS_BYTES:
                    raise ValueError(f"more than {_MAX_KEYS_BYTES} bytes of keys")
        return content


@dataclass(frozen=True)
class _PublicKey:
    """One key of a set, with what the set says about it."""

    key_id: str | None
    kind: str
    algorithm: str | None
    key: Any

    def fits(self, algorithm: str) -> bool:
        """Whether it is for an algorithm: by its kind, and by its `alg` if the set names one."""
        kind = {"R": "RSA", "P": "RSA", "E": "OKP" if algorithm == "EdDSA" else "EC"}[algorithm[0]]
        return self.kind == kind and self.algorithm in (None, algorithm)


def _public_keys(content: object) -> list[_PublicKey]:
    """The usable keys of a JWK Set; secrets and private keys, which have no place in it, are left out.

    Raises:
        ValueError: it is no JWK Set.
    """
    if not isinstance(content, dict) or not isinstance(content.get("keys"), list):
        raise ValueError("no JWK Set")
    found = []
    for one in content["keys"]:
        usable = isinstance(one, dict) and one.get("kty") in ("RSA", "EC", "OKP") and "d" not in one
        if not usable or one.get("use", "sig") != "sig":
            continue
        # A key of a kind that this library does not know is no reason to refuse the others.
        with contextlib.suppress(jwt.PyJWTError, ValueError, TypeError):
            found.append(_PublicKey(one.get("kid"), one["kty"], one.get("alg"), jwt.PyJWK(one).key))
    return found


class TokenVerifier:
    """Verifies tokens of some issuers.

    Args:
        issuers: The accepted issuers.
    """

    def __init__(self, issuers: list[Issuer]):
        self._issuers = {one.issuer: (one, IssuerKeys(one)) for one in issuers}

    async def verify(self, token: str) -> tuple[Issuer, str, frozenset[str]]:
        """Verify signature, issuer, audience and times of a token.

        Returns:
            The issuer, the client's name, and the granted scopes.

        Raises:
            InvalidToken: the token is not accepted.
        """
        if len(token) > _MAX_TOKEN:
            raise InvalidToken(f"the token has more than {_MAX_TOKEN} characters")
        issuer, keys, header = self._unverified(token)
        key_id = header.get("kid")
        key = await keys.key(key_id if isinstance(key_id, str) else None, header["alg"])
        try:
            claims = jwt.decode(
                token, key, algorithms=[header["alg"]], issuer=issuer.issuer, audience=issuer.audience,
                leeway=issuer.leeway_s, options={"require": ["exp", "iss", "aud"]},
            )  # fmt: skip
        except jwt.ExpiredSignatureError as error:
            raise InvalidToken("the token has expired") from error
        except jwt.InvalidAudienceError as error:
            raise InvalidToken("the token is for another audience") from error
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise InvalidToken("the token is not valid") from error
        client = claims.get(issuer.client_claim)
        if not isinstance(client, str) or not 0 < len(client) <= _MAX_NAME or not client.isprintable():
            raise InvalidToken(f"the token's claim '{issuer.client_claim}' names no client")
        return issuer, client, _scopes(claims.get(issuer.scope_claim), issuer)

    def _unverified(self, token: str) -> tuple[Issuer, IssuerKeys, dict[str, Any]]:
        """The issuer that a token names and its header, to know which keys to verify both with."""
        try:
            unverified = jwt.decode_complete(token, options={"verify_signature": False})
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise InvalidToken("the credential is neither a known key nor a token") from error
        header, claimed = unverified["header"], unverified["payload"].get("iss")
        if not isinstance(claimed, str) or claimed not in self._issuers:
            raise InvalidToken("the token is of another issuer")
        issuer, keys = self._issuers[claimed]
        if header.get("alg") not in issuer.algorithms:
            raise InvalidToken("the token's algorithm is not accepted")
        if "crit" in header:
            raise InvalidToken("the token has critical extensions")
        return issuer, keys, header


def _scopes(claim: object, issuer: Issuer) -> frozenset[str]:
    words = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else []
    named = {word.removeprefix(issuer.scope_prefix) for word in words
             if isinstance(word, str) and word.startswith(issuer.scope_prefix)}  # fmt: skip
    return frozenset(named & set(issuer.scopes) & set(SCOPES))
