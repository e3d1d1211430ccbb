"""What a V2 request has around the values of its tensors; kserve checks none of it."""

from typing import Any


def check_envelope(request: Any) -> None:
    """Types of what kserve reads of a V2 request, of tensors as they are in JSON, before anything counts with them.

    Raises:
        TypeError: names the field.
    """
    for tensor in request.inputs:
        if not isinstance(tensor.shape, list) or not all(type(size) is int for size in tensor.shape):
            raise TypeError("the shape of an input is not a list of whole numbers")
        if not isinstance(tensor.name, str) or not isinstance(tensor.datatype, str):
            raise TypeError("name or datatype of an input is not a string")
    outputs = request.request_outputs or ()
    for given in (request.parameters, *(output.parameters for output in outputs)):
        if given is not None and not isinstance(given, dict):
            raise TypeError("parameters is not an object")
    for field, value in (("id", request.id or ""), *(("name of an output", output.name) for output in outputs)):
        if not isinstance(value, str):
            raise TypeError(f"{field} is not a string")
