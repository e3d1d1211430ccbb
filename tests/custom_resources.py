"""Strict validation of custom resources by the schema of their CRD; unknown fields are errors."""

import copy
import functools
import json
import os
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

FOLDER = Path(os.environ.get("SHOPRANK_CRDS", Path(__file__).parents[2] / "shared" / "crds"))
"""Folder of the CRDs as JSON, which are not part of this repository."""


def errors(document: dict[str, Any], folder: Path = FOLDER) -> list[str]:
    """Violations of the schema of the document's CRD; empty for a valid document.

    Raises:
        KeyError: no CRD of that kind and version is in the folder.
    """
    validator = Draft202012Validator(_schemas(folder)[document["apiVersion"], document["kind"]])
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(document)]


@functools.cache
def _schemas(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    found = {}
    for path in folder.glob("*.json"):
        definition = json.loads(path.read_text())["spec"]
        for version in definition["versions"]:
            key = f"{definition['group']}/{version['name']}", definition["names"]["kind"]
            schema = copy.deepcopy(version["schema"]["openAPIV3Schema"])
            # The API server checks the metadata; a CRD says only that it is an object.
            schema.get("properties", {}).pop("metadata", None)
            found[key] = _strict(schema, metadata={"type": "object"})
    return found


def _strict(schema: Any, **extra: Any) -> Any:
    """Convert the OpenAPI v3 schema of a CRD to a JSON Schema that refuses unknown fields."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: _strict(part) for key, part in schema.items() if not key.startswith("x-kubernetes-")}
    if schema.get("x-kubernetes-int-or-string"):
        strict.pop("anyOf", None)
        strict["type"] = ["integer", "string"]
    if strict.pop("nullable", False):
        strict["type"] = [strict["type"], "null"]
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        strict["properties"].update(extra)
        if "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            strict["additionalProperties"] = False
    return strict
