"""Decides about a call: who asks, whether that client may, and whether its limits allow it now."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from components.shared.access_keys import Scope, is_key, key_hash
from serving.access.config import AccessOptions, Limits
from serving.access.paths import Need
from serving.access.rates import ClientLimits
from serving.access.tokens import InvalidToken, TokenVerifier
from serving.metrics import REFUSED

_MAX_CREDENTIAL = 10_000


@dataclass(frozen=True)
class Client:
    """An authenticated client."""

    name: str
    """Of a token: its issuer and client claim."""
    scopes: frozenset[str]
    limits: Limits


class Denied(Exception):
    """A call that is not allowed.

    Args:
        reason: `key`, `scope`, `rate` or `quota`.
        headline: What is wrong, without the credential.
        fix: What to do.
        retry_after_s: Seconds after which it may be allowed; 0: never.
    """

    def __init__(self, reason: str, headline: str, fix: str, retry_after_s: int = 0):
        super().__init__(headline)
        self.reason, self.headline, self.fix, self.retry_after_s = reason, headline, fix, retry_after_s
        self.client = ""


class Gate:
    """The clients of one version of the access file.

    Args:
        options: The file.
        used: What clients have used, which outlives the version.
    """

    def __init__(self, options: AccessOptions, used: ClientLimits):
        self._clients = {
            hashed: (Client(one.name, frozenset(one.scopes), one.limits), one.expires_at())
            for one in options.clients for hashed in one.keys
        }  # fmt: skip
        self._tokens = TokenVerifier(options.issuers) if options.issuers else None
        self._used = used
        self.metrics_scope: Scope | None = options.metrics_scope

    async def admit(self, need: Need, headers: Mapping[str, str]) -> Client:
        """Authenticate a call, check its scope and count it.

        Args:
            need: What it needs, not `open`.
            headers: Headers or gRPC metadata by lower-case name.

        Raises:
            Denied: it is not allowed.
        """
        try:
            client = await self._client(headers)
            self._check(client, need)
        except Denied as denied:
            REFUSED.labels(denied.reason).inc()
            raise
        return client

    def _check(self, client: Client, need: Need) -> None:
        denied = None
        if need != "key" and need not in client.scopes:
            denied = Denied("scope", f"this needs the scope '{need}', which '{client.name}' does not have",
                            "ask the operator of the predictor for it")  # fmt: skip
        elif exceeded := self._used.take(client.name, client.limits):
            allowed = (f"{client.limits.per_day} requests a day" if exceeded.limit == "quota"
                       else f"{client.limits.per_second:g} requests a second")  # fmt: skip
            denied = Denied(exceeded.limit, f"'{client.name}' may send {allowed}",
                            f"retry after {exceeded.retry_after_s} s", exceeded.retry_after_s)  # fmt: skip
        if denied:
            denied.client = client.name
            raise denied

    async def _client(self, headers: Mapping[str, str]) -> Client:
        credential = _credential(headers)
        if is_key(credential):
            # A look-up by hash tells nothing by its time about the key.
            client, expires_at = self._clients.get(key_hash(credential), (None, 0.0))
            if client is None:
                raise Denied("key", "the key is unknown", "check the key, or ask the operator for a new one")
            if time.time() >= expires_at:
                raise Denied("key", f"the key of '{client.name}' has expired", "ask the operator for a new one")
            return client
        if self._tokens is None:
            raise Denied("key", "the credential is no key of this predictor",
                         "send a key as made by `shoprank access-key`")  # fmt: skip
        try:
            issuer, name, scopes = await self._tokens.verify(credential)
        except InvalidToken as error:
            raise Denied("key", str(error), "send a valid key or token") from error
        return Client(f"{issuer.issuer} {name}", scopes, issuer.limits)


def _credential(headers: Mapping[str, str]) -> str:
    """The key or token of a request."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    key = headers.get("x-api-key", "")
    credential = value.strip() if kind.lower() == "bearer" else key.strip()
    if kind and kind.lower() != "bearer":
        raise Denied("key", "the authorization header is no bearer credential", "send `Authorization: Bearer KEY`")
    if not credential or len(credential) > _MAX_CREDENTIAL:
        raise Denied("key", "the request has no key or token", "send `Authorization: Bearer KEY`, or `x-api-key: KEY`")
    return credential
