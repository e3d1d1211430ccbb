"""The catalog pipeline: today's items in the served model within minutes, proven as any other version."""

# KFP turns annotated functions into task factories at import; a type checker still sees the functions.
# pyright: reportCallIssue=false, reportArgumentType=false

from kfp import dsl

from components.deploy_model.component import deploy_model
from components.refresh_catalog.component import refresh_catalog
from components.register_model.component import register_model
from components.validate_serving.component import validate_serving
from pipelines import resources
from pipelines.resources import REGISTRY_MOUNT, REGISTRY_VOLUME, apply


@dsl.pipeline(
    name="shoprank-catalog",
    description="New and changed items into the served model, without training.",
    display_name="shoprank: catalog",
)
def catalog(
    items_source: str,
    registry: str = f"{REGISTRY_MOUNT}/registry",
    model_name: str = "shop",
    signing_key: str = f"{REGISTRY_MOUNT}/keys/signing.pem",
    lineage: str = "",
    max_p99_ms: float = 500.0,
    max_memory_mb: float = 2000.0,
    backend: str = "local",
    service: str = "shoprank",
    namespace: str = "",
    storage: str = f"pvc://{REGISTRY_VOLUME}/registry",
    mode: str = "Standard",
    confidential: str = "",
):
    """Refresh the champion, register the result as a version of its own, prove it and serve it.

    Args:
        items_source: Parquet file or folder, or its URI, in the form that ingest_events writes its items.
        registry: Folder of the model registry.
        model_name: Name in the registry.
        signing_key: Ed25519 private key.
        lineage: JSON of texts to keep with the version, such as where the catalog came from.
        max_p99_ms: Limit of the served 99th percentile.
        max_memory_mb: Limit of the predictor's memory.
        backend: Where it is released: local (the registry's champion alone) or kserve.
        service: Name of the InferenceService.
        namespace: Where it lives; empty: where the step runs.
        storage: URI of the registry's folder as KServe reads it: pvc://, s3:// or minio://.
        mode: KServe's deployment mode: Standard or Knative.
        confidential: Resource id (kbs:///...) of the key of the bundles in `storage`; empty: they are not encrypted.
    """
    refreshed = apply(
        refresh_catalog(
            items_source=items_source, registry=registry, model_name=model_name, public_key=f"{signing_key}.pub"
        ),
        resources.REFRESH,
    ).outputs  # fmt: skip
    registered = apply(
        register_model(
            compiled=refreshed["compiled"], evaluation=refreshed["evaluation"], registry=registry,
            model_name=model_name, signing_key=signing_key, lineage=lineage, storage=storage,
        ),
        resources.RELEASE,
    ).outputs  # fmt: skip
    proof = apply(
        validate_serving(bundle=registered["bundle"], max_p99_ms=max_p99_ms, max_memory_mb=max_memory_mb),
        resources.SERVE,
    ).outputs["proof"]
    apply(
        deploy_model(
            proof=proof, evaluation=refreshed["evaluation"], registry=registry, model_name=model_name,
            version=registered["Output"], backend=backend, service=service, namespace=namespace, storage=storage,
            mode=mode, confidential=confidential,
        ),
        resources.RELEASE,
    )  # fmt: skip
