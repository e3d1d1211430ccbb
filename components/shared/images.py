"""Container images of the stages; tags follow the version and are never `latest`.

KFP's cache key contains the image string, so an unchanged tag with changed code would return stale results.
"""

import os

from components.shared.version import VERSION

_REGISTRY = os.environ.get("SHOPRANK_IMAGE_REGISTRY", "localhost:5001/shoprank")

DATA_IMAGE = f"{_REGISTRY}/data:{VERSION}"
"""pyarrow, duckdb, matplotlib: ingest, validate, features, register, deploy."""

TRAIN_IMAGE = f"{_REGISTRY}/train:{VERSION}"
"""The data image plus torch, torchrec, faiss, onnx and g++: train, evaluate, compile."""

SERVE_IMAGE = f"{_REGISTRY}/prove:{VERSION}"
"""The predictor image plus kfp's executor: validate_serving, with exactly the packages of the predictor."""

PREDICTOR_IMAGE = f"{_REGISTRY}/predictor:{VERSION}"
"""kserve, onnxruntime, torch, faiss and bm25s, without kfp: the image of the ServingRuntime in manifests/base."""
