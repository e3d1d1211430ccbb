"""Needs of signing: one pair of keys, the private half for the step that signs, the public one for all that verify."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass

from components.shared.cluster.api import Manifest
from components.shared.errors import ClusterError
from components.shared.release.signing import PRIVATE_FILE
from pipelines.doctor.needs import Need, Plan, Unmet
from pipelines.doctor.reading import Reader
from pipelines.resources import KEY_NAME

PUBLIC_FILE = f"{PRIVATE_FILE}.pub"


@dataclass(frozen=True)
class _Public:
    """A ConfigMap's public key, and that of the steps' Secret.

    Attributes:
        trusted: of the ConfigMap, '' if it has none. signer: of the Secret, '' if it may not be read.
    """

    trusted: str
    signer: str


def needs(reader: Reader, plan: Plan) -> Iterator[Need]:
    """What signing and checking need."""
    other = plan.serving_namespace if plan.serving_namespace not in ("", plan.namespace) else ""
    fix = f"shoprank keys create --namespace {plan.namespace}{f' --serving-namespace {other}' if other else ''} --apply"
    yield Need(
        name=f"Secret {KEY_NAME}", namespace=plan.namespace, judge=_private, fix=fix,
        read=lambda: reader.core(plan.namespace, "secrets", KEY_NAME),
    )  # fmt: skip
    for place in filter(None, (plan.namespace, other)):
        yield Need(
            name=f"ConfigMap {KEY_NAME}", namespace=place, judge=_same,
            read=lambda place=place: _read(reader, plan, place),
            fix=f"{fix}, or, with a Secret that stays, create the ConfigMap from its {PUBLIC_FILE}",
        )  # fmt: skip


def _private(found: Manifest) -> str:
    if PRIVATE_FILE not in found.get("data", {}):
        raise Unmet(f"has no {PRIVATE_FILE}")
    return "holds a private key"


def _read(reader: Reader, plan: Plan, place: str) -> _Public:
    trusted = reader.core(place, "configmaps", KEY_NAME).get("data", {}).get(PUBLIC_FILE, "")
    try:
        data = reader.core(plan.namespace, "secrets", KEY_NAME).get("data", {})
    except ClusterError:
        return _Public(trusted.strip(), "")
    return _Public(trusted.strip(), base64.b64decode(data.get(PUBLIC_FILE, "")).decode(errors="replace").strip())


def _same(found: _Public) -> str:
    if "BEGIN PUBLIC KEY" not in found.trusted:
        raise Unmet(f"has no public key under {PUBLIC_FILE}")
    if found.signer and found.signer != found.trusted:
        raise Unmet("holds another public key than the Secret: bundles would be refused")
    return "holds the public key of the Secret" if found.signer else "holds a public key"
