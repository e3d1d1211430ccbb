"""Our kustomizations as `kubectl kustomize` renders them, each once."""

import copy
import subprocess
from functools import cache
from pathlib import Path

import yaml

MANIFESTS = Path(__file__).parents[1] / "manifests"


@cache
def rendered(folder: str) -> list[dict]:
    output = subprocess.run(["kubectl", "kustomize", MANIFESTS / folder], capture_output=True, text=True, check=True)
    assert not output.stderr
    return list(yaml.safe_load_all(output.stdout))


def one(folder: str, kind: str, named: str = "") -> dict:
    """A copy of the only object of a kind."""
    found = [doc for doc in rendered(folder) if doc["kind"] == kind and (not named or doc["metadata"]["name"] == named)]
    assert len(found) == 1, f"{len(found)} {kind} {named} in {folder}"
    return copy.deepcopy(found[0])
