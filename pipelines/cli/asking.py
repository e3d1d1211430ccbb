"""A small client of the predictor's V1 endpoint."""

from typing import Any

import httpx

from components.shared.errors import InputError, ServingError


def ask(url: str, request: dict[str, Any], model: str = "shoprank", explain: bool = False) -> dict[str, Any]:
    """One answer to one request (serving/protocol.py describes both).

    Raises:
        InputError: the predictor refused the request; the message names the field.
        ServingError: no predictor answers at `url`, or it failed.
    """
    verb = "explain" if explain else "predict"
    address = f"{url.rstrip('/')}/v1/models/{model}:{verb}"
    try:
        # Proxies of the environment are for other hosts than the shop's own endpoint on loopback.
        with httpx.Client(trust_env=not url.startswith(("http://127.", "http://localhost")), timeout=30.0) as client:
            response = client.post(address, json={"instances": [request]})
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise ServingError(
            f"--url {url}: {error}", "start one with `shoprank serve BUNDLE`, or name its address"
        ) from error
    try:
        body: Any = response.json()
    except ValueError:
        body = {"error": response.text[:200]}
    said = body.get("error", body) if isinstance(body, dict) else body
    if response.status_code == 400:
        raise InputError(str(said), "change that part of the question")
    if response.status_code != 200:
        raise ServingError(f"{address} answered {response.status_code}: {said}", "look at the predictor's log")
    try:
        return body["explanations" if explain else "predictions"][0]
    except (LookupError, TypeError) as error:
        raise ServingError(
            f"{address} answered something else: {str(body)[:200]}", "name the address of a shoprank predictor"
        ) from error
