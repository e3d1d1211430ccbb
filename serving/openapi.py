"""The OpenAPI document with what kserve leaves out of it: the bodies of V1 requests."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

from serving.protocol import MAX_INSTANCES, Instance

_V1 = ("/v1/models/{model_name}:predict", "/v1/models/{model_name}:explain")


def describe_v1(app: FastAPI) -> None:
    """Add the schema of `instances` to the document of an application, whose paths may come later."""
    without: Callable[[], dict[str, Any]] = app.openapi

    def openapi() -> dict[str, Any]:
        document = without()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        if "Instance" in schemas:
            return document
        instance = Instance.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(instance.pop("$defs", {}), Instance=instance)
        body = {
            "type": "object", "required": ["instances"], "additionalProperties": False,
            "properties": {
                "instances": {"type": "array", "minItems": 1, "maxItems": MAX_INSTANCES,
                              "items": {"$ref": "#/components/schemas/Instance"}},
                "parameters": {"type": "object"},
            },
        }  # fmt: skip
        for path in _V1:
            if path in document["paths"]:
                document["paths"][path]["post"]["requestBody"] = {
                    "required": True, "content": {"application/json": {"schema": body}}
                }  # fmt: skip
        return document

    app.openapi = openapi
