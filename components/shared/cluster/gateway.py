"""Requests through the gateway: what a client gets, whatever conditions say."""

import time
from collections.abc import Collection
from typing import Any

import httpx

from components.shared.cluster.api import Cluster, Manifest
from components.shared.cluster.kinds import GATEWAY
from components.shared.errors import ServingError

IN_A_ROW = 3
"""Good answers in a row: a gateway's proxies get a change one after the other."""
_UNREACHED = 2
"""Connections that fail before any answer, after which the gateway counts as out of reach from here."""


def check_served(
    cluster: Cluster, route: Manifest, model: str, versions: Collection[str], seconds: float, answers: int = IN_A_ROW
) -> str:
    """Ask for the model's metadata through the gateway until the answers are right.

    Args:
        cluster: Namespace of the route.
        route: The HTTPRoute.
        model: Name of the model, as in its URL.
        versions: Versions that may answer.
        seconds: Time that the gateway has to take over a change.
        answers: Good ones in a row that are enough.

    Returns:
        '' if it answers; else why it could not be asked, such as from outside the cluster.

    Raises:
        ServingError: its answers are errors, or come from another version.
    """
    gateway = cluster.find(GATEWAY, route["spec"]["parentRefs"][0]["name"])
    url = _url(gateway) if gateway else ""
    if not gateway or not url:
        return "the gateway has no address"
    host = _host(route, gateway["spec"]["listeners"][0])
    deadline, good, failed, why = time.monotonic() + seconds, 0, 0, ""
    headers, extensions = ({"host": host}, {"sni_hostname": host}) if host else ({}, {})
    with httpx.Client(trust_env=False, timeout=3, verify=False) as client:
        while good < answers:
            try:
                answer = client.get(f"{url}/v2/models/{model}", headers=headers, extensions=extensions)
                if answer.is_redirect:
                    return f"{url} redirects to {answer.headers.get('location')}"
                why = _wrong(answer, versions)
                good, failed = (0 if why else good + 1), -1
            except httpx.TransportError as error:
                good, failed, why = 0, failed + (failed >= 0), f"no answer: {error!r}"
            if failed == _UNREACHED:
                return f"{url} cannot be reached from here"
            if why and time.monotonic() > deadline:
                raise ServingError(
                    f"gateway {gateway['metadata']['name']} at {url}: {why}",
                    "look at its routes (kubectl get httproutes -A) and at the log of its controller",
                )
            time.sleep(0.2 if why else 0)
    return ""


def _url(gateway: Manifest) -> str:
    addresses = gateway.get("status", {}).get("addresses", [])
    listener: dict[str, Any] = gateway["spec"]["listeners"][0]
    scheme = "https" if listener["protocol"] == "HTTPS" else "http"
    if not addresses:
        return ""
    address = addresses[0]["value"]
    return f"{scheme}://{f'[{address}]' if ':' in address else address}:{listener['port']}"


def _host(route: Manifest, listener: dict[str, Any]) -> str:
    """Name that a request must have to meet the route, '' for any."""
    name = (route["spec"].get("hostnames") or [listener.get("hostname", "")])[0]
    return name.replace("*", "any", 1)


def _wrong(answer: httpx.Response, versions: Collection[str]) -> str:
    """What is wrong with an answer; a predictor that wants a token has been reached."""
    if answer.status_code in (401, 403):
        return ""
    if answer.status_code == 404:
        return "answered 404: another route on this gateway takes the service's requests"
    if answer.status_code != 200:
        return f"answered {answer.status_code}"
    try:
        version = (answer.json().get("versions") or [""])[0]
    except (ValueError, AttributeError):
        return "another server answered"
    return "" if version in versions else f"version {version or 'unknown'} answered, not {' or '.join(versions)}"
