"""Container images of all our pods: registry, tag and pull secret are set here, by environment variables.

They are read when pipelines are compiled (`shoprank compile`), which also writes them into the manifests. Tags are
never `latest`: KFP's cache key contains the image string, so an unchanged tag with changed code would return stale
results.
"""

import os

from components.shared.version import VERSION

DEFAULT_REGISTRY = "localhost:5001/shoprank"
"""Registry of `shoprank kind up`, and the one written in manifests/."""

_DEFAULTS = {
    "SHOPRANK_IMAGE_REGISTRY": DEFAULT_REGISTRY,
    "SHOPRANK_IMAGE_TAG": VERSION,
    "SHOPRANK_IMAGE_PULL_SECRET": "",
}


def environment() -> dict[str, str]:
    """The variables and their values; an image that starts pods of the same registry is given them."""
    return {name: os.environ.get(name) or default for name, default in _DEFAULTS.items()}


REGISTRY, TAG, PULL_SECRET = environment().values()
"""Registry with an optional path, tag, and name of the Secret (type kubernetes.io/dockerconfigjson) to pull with; the
Secret is in the namespaces of the pods, and '' means none."""

DATA_IMAGE = f"{REGISTRY}/data:{TAG}"
"""pyarrow, duckdb, matplotlib: ingest, validate, features, deploy."""

TRAIN_IMAGE = f"{REGISTRY}/train:{TAG}"
"""The data image plus torch, torchrec, faiss, onnx and g++: train, evaluate, compile, register."""

SERVE_IMAGE = f"{REGISTRY}/prove:{TAG}"
"""The predictor image plus kfp's executor: validate_serving, with exactly the packages of the predictor."""

PREDICTOR_IMAGE = f"{REGISTRY}/predictor:{TAG}"
"""kserve, onnxruntime, torch, faiss and bm25s, without kfp: the image of the ServingRuntime in manifests/base."""
