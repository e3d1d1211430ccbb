"""A small client of the predictor's V1 endpoint."""

from typing import Any

import httpx

from components.shared.errors import InputError, ServingError
from components.shared.schema.requests import MAX_K


def ask(
    url: str, request: dict[str, Any], model: str = "shoprank", explain: bool = False, key: str = ""
) -> dict[str, Any]:
    """Send one request and return its answer (serving/protocol.py describes both).

    Args:
        url: Address of the predictor.
        request: One instance.
        model: Name of the model in the predictor's URLs.
        explain: Ask for the explanation.
        key: Key or token; '' sends none.

    Raises:
        InputError: `k` is out of range, or the predictor rejected the request; the message names the field.
        ServingError: no predictor answers at `url`, or the request failed.
    """
    k = request.get("k", 1)
    if not 1 <= k <= MAX_K:
        raise InputError(f"k is {k}, but an answer has 1 to {MAX_K} items", f"give --k from 1 to {MAX_K}")
    verb = "explain" if explain else "predict"
    address = f"{url.rstrip('/')}/v1/models/{model}:{verb}"
    try:
        # Do not send requests to loopback through the proxies of the environment.
        with httpx.Client(trust_env=not url.startswith(("http://127.", "http://localhost")), timeout=30.0) as client:
            headers = {"authorization": f"Bearer {key}"} if key else {}
            response = client.post(address, json={"instances": [request]}, headers=headers)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise ServingError(
            f"--url {url}: {error}", "start a predictor with `shoprank serve BUNDLE`, or give its address"
        ) from error
    try:
        body: Any = response.json()
    except ValueError:
        body = {"error": response.text[:200]}
    message = body.get("error", body) if isinstance(body, dict) else body
    if response.status_code == 400:
        raise InputError(str(message), "correct that field of the request")
    if response.status_code in (401, 403):
        raise InputError(str(message), "give a key with that scope as SHOPRANK_KEY or --key")
    if response.status_code != 200:
        raise ServingError(f"{address} answered {response.status_code}: {message}", "check the predictor's log")
    try:
        return body["explanations" if explain else "predictions"][0]
    except (LookupError, TypeError) as error:
        raise ServingError(
            f"{address} returned an unexpected body: {str(body)[:200]}", "give the address of a shoprank predictor"
        ) from error
