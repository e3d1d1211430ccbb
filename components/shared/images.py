"""The container image of each stage, in one place; tags follow the version and are never `latest`.

KFP's cache key holds the image string, so an unchanged tag with changed code would serve stale results.
"""

import os

from components.shared.version import VERSION

_REGISTRY = os.environ.get("SHOPRANK_IMAGE_REGISTRY", "localhost:5001/shoprank")

DATA_IMAGE = f"{_REGISTRY}/data:{VERSION}"
"""pyarrow, duckdb, matplotlib: ingest, validate, features, register, deploy."""

TRAIN_IMAGE = f"{_REGISTRY}/train:{VERSION}"
"""The data image plus torch, torchrec, faiss, onnx and g++: train, evaluate, compile."""

SERVE_IMAGE = f"{_REGISTRY}/prove:{VERSION}"
"""The predictor image plus kfp's executor: the step that proves the server, on the very packages that will serve."""

PREDICTOR_IMAGE = f"{_REGISTRY}/predictor:{VERSION}"
"""kserve, onnxruntime, torch, faiss, bm25s, and no kfp: what the ServingRuntime of manifests/base runs."""
