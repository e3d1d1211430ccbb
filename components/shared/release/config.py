"""Options of a release: what a version carries, what the served model must keep to, and where it goes live."""

from typing import Literal, Self

from pydantic import Field, model_validator

from components.shared.options import Limit, Options, refused

SCHEMES = ("pvc", "s3", "gs", "minio", "https", "hdfs", "oci")
"""What KServe's storage initializer reads; minio:// is KFP's name of s3://."""


class ReleaseOptions(Options):
    """How a trained model becomes a version and goes live."""

    lineage: dict[str, str] = Field(default_factory=dict)
    """Texts to keep with the version, such as {"commit": "1a2b3c"}."""
    publish: str = ""
    """Where else a version is registered: oci:FOLDER, model-registry:URL (Kubeflow's), or empty."""
    max_p99_ms: Limit = 500.0
    """Largest 99th percentile of a request that the real predictor may need, in milliseconds."""
    max_memory_mb: Limit = 2000.0
    """Largest resident memory of the predictor, in MB."""
    backend: Literal["local", "kserve"] = "local"
    """Of a direct release: the registry's champion alone, or an InferenceService too."""
    service: str = "shoprank"
    """Name of the InferenceService."""
    namespace: str = ""
    """Where it lives; empty: where the step runs."""
    storage: str = "pvc://shoprank-registry/registry"
    """URI of the registry's folder as KServe reads it: pvc://, s3:// or KFP's minio://."""
    mode: Literal["Standard", "Knative"] = "Standard"
    """KServe's deployment mode; it cannot change after the service's creation."""
    confidential: str = ""
    """Resource id (kbs:///...) of the key of the bundles in `storage`; empty: they are not encrypted."""

    @model_validator(mode="after")
    def _addresses_have_known_forms(self) -> Self:
        scheme, found, _ = self.storage.partition("://")
        if not found or scheme not in SCHEMES:
            raise refused(f"storage is '{self.storage}'", f"give a URI that begins with one of: {', '.join(SCHEMES)}")
        kind, _, where = self.publish.partition(":")
        known = (kind == "oci" and where) or (kind == "model-registry" and where.startswith(("http://", "https://")))
        if self.publish and not known:
            raise refused(
                f"publish is '{self.publish}'", "leave it empty, or give oci:FOLDER or model-registry:http://..."
            )
        return self
