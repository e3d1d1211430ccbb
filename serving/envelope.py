"""What a V2 request has around its tensors; kserve checks none of it."""

from typing import Any


def check_envelope(request: Any) -> None:
    """Types of what kserve reads of a V2 request only when it makes the answer.

    Raises:
        TypeError: names the field.
    """
    outputs = request.request_outputs or ()
    for given in (request.parameters, *(output.parameters for output in outputs)):
        if given is not None and not isinstance(given, dict):
            raise TypeError("parameters is not an object")
    for field, value in (("id", request.id or ""), *(("name of an output", output.name) for output in outputs)):
        if not isinstance(value, str):
            raise TypeError(f"{field} is not a string")
