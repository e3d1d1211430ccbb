"""Options of a release: metadata and publication of a version, limits of the served model, deployment."""

from typing import Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from components.shared.object_names import RULE, is_object_name
from components.shared.options import Fraction, Limit, Options, refused

VOLUME = "pvc://shoprank-registry/registry"
"""The registry's folder on the volume of manifests/base/registry.yaml."""

SCHEMES = ("pvc", "s3", "gs", "minio", "https", "hdfs", "oci")
"""URI schemes of KServe's storage initializer; minio:// is KFP's form of s3://."""


class SearchGate(Options):
    """What the search of a new version must show on a shop's judgments."""

    judgments: str = ""
    """File, folder, URI or glob with columns query, item_id and grade (or clicks), on which a new version is measured
    beside the champion. Empty: the search is not measured."""
    relevant_grade: Limit = 1.0
    """Lowest grade of a relevant item; queries without such an item do not count."""
    tolerance: Fraction = 0.02
    """A version is refused if the 95 % interval of its nDCG@10 minus the champion's reaches further below 0 than this:
    few judged queries give a wide interval."""
    min_ndcg: Fraction = 0.0
    """Least nDCG@10 of a version, with or without a champion."""


class ReleaseOptions(Options):
    """Registration, limits and deployment of a version."""

    lineage: dict[str, str] = Field(default_factory=dict)
    """Metadata to store with the version, such as {"commit": "1a2b3c"}."""
    publish: str = ""
    """Additional registry: oci:FOLDER, model-registry:URL (Kubeflow Model Registry), or empty."""
    search: SearchGate = SearchGate()
    """What the search of a new version must show, if judgments are given."""
    max_p99_ms: Limit = 500.0
    """Maximum 99th percentile of the request latency of the predictor, in milliseconds."""
    max_memory_mb: Limit = 2000.0
    """Maximum resident memory of the predictor, in MB."""
    backend: Literal["local", "kserve"] = "local"
    """Target of a direct release: only the registry's champion, or also an InferenceService."""
    service: str = "shoprank"
    """Name of the InferenceService."""
    namespace: str = ""
    """Namespace of the InferenceService; empty: that of the step."""
    storage: str = VOLUME
    """URI under which KServe reads the registry's folder: pvc://, s3:// or KFP's minio://. A registry at s3:// is
    read under its own URI, unless another one is given."""
    mode: Literal["Standard", "Knative"] = "Standard"
    """KServe's deployment mode; it cannot be changed after the service was created."""
    confidential: str = ""
    """Resource id (kbs:///...) of the key of encrypted bundles in `storage`; empty if they are not encrypted."""

    def storage_of(self, registry: str) -> str:
        """URI under which KServe reads a registry: an s3:// registry's own, unless `storage` names another place."""
        return registry if registry.startswith("s3://") and self.storage == VOLUME else self.storage

    @field_validator("service", "namespace")
    @classmethod
    def _is_a_name(cls, name: str, field: ValidationInfo) -> str:
        if not is_object_name(name) and (name or field.field_name == "service"):
            raise refused(f"{name!r} is not a name in Kubernetes", RULE)
        return name

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
