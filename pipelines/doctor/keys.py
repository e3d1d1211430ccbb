"""Needs of signing: one pair of keys, the private half for the step that signs, the public one for all that verify."""

import base64
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from components.shared.cluster.api import Manifest
from components.shared.errors import ClusterError, MissingObject
from components.shared.release.signing import PRIVATE_FILE
from pipelines.doctor.needs import Need, Plan, Unmet
from pipelines.doctor.reading import Reader
from pipelines.keys import public_key_commands, save_and_delete
from pipelines.resources import KEY_NAME

PUBLIC_FILE = f"{PRIVATE_FILE}.pub"


@dataclass(frozen=True)
class _Public:
    """A ConfigMap's public key, and that of the steps' Secret.

    Attributes:
        trusted: of the ConfigMap, '' if it has none. exists: whether there is a ConfigMap.
        signer: of the Secret, '' if it may not be read or has none. signs: whether there may be a Secret.
    """

    trusted: str
    exists: bool
    signer: str
    signs: bool


def needs(reader: Reader, plan: Plan) -> Iterator[Need]:
    """What signing and checking need."""
    other = plan.serving_namespace if plan.serving_namespace not in ("", plan.namespace) else ""
    places = [one for one in (plan.namespace, other) if one]
    create = (
        f"shoprank keys create --namespace {plan.namespace}{f' --serving-namespace {other}' if other else ''} --apply"
    )
    yield Need(
        name=f"Secret {KEY_NAME}", namespace=plan.namespace,
        judge=lambda found: _private(found, plan.namespace, create), fix=create,
        read=lambda: _read_private(reader, plan.namespace, places),
    )  # fmt: skip
    for place in places:
        yield Need(
            name=f"ConfigMap {KEY_NAME}", namespace=place, read=lambda place=place: _read(reader, plan, place),
            judge=lambda found, place=place: _same(found, plan.namespace, place), fix=create,
        )  # fmt: skip


def _read_private(reader: Reader, steps: str, places: list[str]) -> tuple[Manifest | None, list[str]]:
    """The Secret, if there is one, and the namespaces with a ConfigMap, as far as they may be read."""
    found, public = None, []
    with contextlib.suppress(MissingObject):
        found = reader.core(steps, "secrets", KEY_NAME)
    for place in places:
        with contextlib.suppress(ClusterError):
            reader.core(place, "configmaps", KEY_NAME)
            public.append(place)
    return found, public


def _private(read: tuple[Manifest | None, list[str]], steps: str, create: str) -> str:
    found, public = read
    new_pair = [*(f"kubectl -n {one} delete configmap {KEY_NAME}" for one in public), create]
    if found is None:
        why = (
            "the ConfigMaps are of another pair; with its private key in a file create the Secret with --key FILE, "
            "without it bundles of that pair are refused; in either case:"
        )
        raise Unmet("not found", "\n".join([why, *new_pair] if public else new_pair))
    if PRIVATE_FILE not in found.get("data", {}):
        why = (
            "save what it holds, then make a new pair in its place (bundles of the old one are then refused), or one "
            "of your private key with --key FILE:"
        )
        raise Unmet(f"has no {PRIVATE_FILE}", "\n".join([why, *save_and_delete(steps), *new_pair]))
    return "holds a private key"


def _read(reader: Reader, plan: Plan, place: str) -> _Public:
    trusted, exists, signer, signs = "", True, "", True
    try:
        trusted = reader.core(place, "configmaps", KEY_NAME).get("data", {}).get(PUBLIC_FILE, "")
    except MissingObject:
        exists = False
    try:
        data = reader.core(plan.namespace, "secrets", KEY_NAME).get("data", {})
        signer = base64.b64decode(data.get(PUBLIC_FILE, "")).decode(errors="replace")
    except MissingObject:
        signs = False
    except ClusterError:
        pass
    return _Public(trusted.strip(), exists, signer.strip(), signs)


def _same(found: _Public, steps: str, place: str) -> str:
    fix = ""
    if found.signs:
        fix = "\n".join(["make it of the Secret's public key:", *public_key_commands(steps, place)])
    if not found.exists:
        raise Unmet("not found", fix)
    if "BEGIN PUBLIC KEY" not in found.trusted:
        raise Unmet(f"has no public key under {PUBLIC_FILE}", fix)
    if found.signer and found.signer != found.trusted:
        raise Unmet("holds another public key than the Secret: bundles would be refused", fix)
    return "holds the public key of the Secret" if found.signer else "holds a public key"
