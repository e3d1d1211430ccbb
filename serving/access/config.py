"""The access file: clients with keys, issuers of tokens, their scopes and limits; an error names the field."""

import datetime
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import Field, field_validator, model_validator

from components.shared.access_keys import CLIENT_NAME, HASH, Scope
from components.shared.errors import InputError
from components.shared.options import Count, Limit, Options, Rate, refused
from components.shared.yaml_text import read_yaml

_MAX_BYTES = 5_000_000
_PASTED = re.compile(r"shoprank_[\w-]+")

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures by a key pair. `none` and HS256, for which a published key would be the secret, cannot be allowed."""

Name = Annotated[str, Field(pattern=f"^{CLIENT_NAME}$")]
Scopes = Annotated[list[Scope], Field(min_length=1)]


class Limits(Options):
    """How much a client may ask of one replica; null: no limit."""

    per_second: Limit | None = None
    """Requests per second in the long run."""
    burst: Count | None = None
    """Requests at once after a pause. Default: those of one second, at least 1."""
    per_day: Count | None = None
    """Requests of a day of UTC."""

    @model_validator(mode="after")
    def _burst_of_a_rate(self) -> "Limits":
        if self.burst is not None and self.per_second is None:
            raise refused("burst without per_second", "give per_second too, or leave burst out")
        return self

    @property
    def at_once(self) -> int:
        """Size of the bucket."""
        return self.burst or max(1, math.ceil(self.per_second or 1))


class ClientKeys(Options):
    """A client with keys of its own."""

    name: Name
    """Name in the audit log and of the limits, which all its keys share."""
    keys: Annotated[list[Annotated[str, Field(pattern=f"^{HASH}$")]], Field(min_length=1)]
    """Hashes of its keys, as `shoprank access-key` prints them; two while one replaces the other."""
    scopes: Scopes
    """What it may call."""
    limits: Limits = Limits()
    """Limits of this client."""
    expires: str | None = None
    """Day of UTC, such as 2027-01-31, after which its keys are refused; null: never."""

    @field_validator("expires")
    @classmethod
    def _is_a_day(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                datetime.date.fromisoformat(value)
        except ValueError:
            raise refused(f"'{value}' is no day", "write it as 2027-01-31") from None
        return value

    def expires_at(self) -> float:
        """Epoch seconds at the end of the last day."""
        if self.expires is None:
            return math.inf
        day = datetime.date.fromisoformat(self.expires) + datetime.timedelta(days=1)
        return datetime.datetime.combine(day, datetime.time(), datetime.UTC).timestamp()


class Issuer(Options):
    """An issuer of JSON Web Tokens, such as an OpenID Connect provider."""

    issuer: Annotated[str, Field(min_length=1)]
    """Its `iss`, exactly."""
    audience: Annotated[str, Field(min_length=1)]
    """The `aud` that tokens for this predictor have."""
    jwks_url: str | None = None
    """Address of its keys (JWK Set); https, or http on the machine itself."""
    jwks_ca: str | None = None
    """PEM file of the authority that signed the certificate of jwks_url; null: the system's."""
    jwks_file: str | None = None
    """File with its keys instead, for machines without a network; it is read again when an unknown key is met."""
    algorithms: Annotated[list[Algorithm], Field(min_length=1)] = Field(default=["RS256"])
    """Signature algorithms that are accepted."""
    scopes: Scopes
    """Scopes that its tokens may grant; others in a token count as absent."""
    scope_claim: str = "scope"
    """Claim with the scopes: a list, or one string with spaces."""
    scope_prefix: str = ""
    """What precedes a scope in the claim, such as `shoprank:`."""
    client_claim: str = "sub"
    """Claim that names the client, to which the limits apply; `azp` or `client_id` at providers that have them."""
    leeway_s: Annotated[Rate, Field(le=300)] = 30.0
    """Tolerated difference of clocks in seconds."""
    refetch_s: Annotated[float, Field(ge=1)] = 30.0
    """Least seconds between two looks at the keys, however many tokens name an unknown one."""
    refresh_s: Annotated[float, Field(ge=1)] = 3600.0
    """Seconds after which the keys are fetched again, so that withdrawn ones are refused."""
    limits: Limits = Limits()
    """Limits of each client of this issuer."""

    @model_validator(mode="after")
    def _one_source(self) -> "Issuer":
        if (self.jwks_url is None) == (self.jwks_file is None):
            raise refused("give one of jwks_url and jwks_file", "name where the keys are")
        if self.jwks_url is not None:
            parts = urlsplit(self.jwks_url)
            local = parts.hostname in ("127.0.0.1", "localhost", "::1")
            if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
                raise refused(f"jwks_url is '{self.jwks_url}'", "give an address that starts with https://")
        return self


class AccessOptions(Options):
    """Contents of an access file."""

    clients: list[ClientKeys] = Field(default=[])
    """Clients with keys."""
    issuers: list[Issuer] = Field(default=[])
    """Issuers of tokens."""
    metrics_scope: Scope | None = None
    """Scope that /metrics needs; null: it is open."""

    @model_validator(mode="after")
    def _distinct(self) -> "AccessOptions":
        hashes = [one for client in self.clients for one in client.keys]
        for what, values in (
            ("client", [client.name for client in self.clients]),
            ("key", hashes),
            ("issuer", [one.issuer for one in self.issuers]),
        ):
            twice = next((value for value in values if values.count(value) > 1), None)
            if twice is not None:
                raise refused(f"{what} '{twice}' is given twice", "remove one of them")
        if not self.clients and not self.issuers:
            raise refused("neither clients nor issuers are given", "add one, with `shoprank access-key NAME`")
        return self


def read_access(path: Path) -> AccessOptions:
    """Read an access file.

    Raises:
        InputError: it cannot be read, is neither YAML nor JSON, or a field is invalid.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise InputError(f"--access {path} cannot be read: {error.strerror}", "give a YAML or JSON file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"--access {path} is not UTF-8", "save the file in UTF-8") from error
    if len(text) > _MAX_BYTES:
        raise InputError(f"--access {path} has more than {_MAX_BYTES:,} characters", "name fewer clients")
    try:
        found = read_yaml(text)
    except (yaml.YAMLError, RecursionError) as error:
        # The error's own text can quote the line, which could be a key that was pasted instead of its hash.
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise InputError(f"{path.name} is neither YAML nor JSON{where}", "correct it") from error
    if not isinstance(found, Mapping):
        raise InputError(f"{path.name} has no fields", "write `clients:` and below it a list of clients")
    try:
        return AccessOptions.read(found, "")
    except InputError as error:
        raise InputError(f"{path.name}: {_without_keys(error.headline)}", _without_keys(error.fix)) from None


def _without_keys(message: str) -> str:
    """A message that quotes no key: who pastes one where its hash belongs must not find it in a log."""
    field, _, _ = message.partition(" is ")
    return f"{field} is no hash of a key" if ".keys" in field else _PASTED.sub("(a key)", message)
