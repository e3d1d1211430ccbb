"""KFP face of the deploy stage."""

from kfp import dsl
from kfp.dsl import Artifact, Input, Metrics, Output

from components.shared.images import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def deploy_model(
    proof: Input[Artifact],
    evaluation: Input[Artifact],
    registry: str,
    model_name: str,
    version: str,
    result: Output[Metrics],
    backend: str = "local",
    service: str = "shoprank",
    namespace: str = "",
    storage: str = "pvc://shoprank-registry/registry",
    mode: str = "Standard",
    confidential: str = "",
) -> str:
    """Make a blessed and proven version the champion and remember the one before.

    Args:
        proof: Output of validate_serving for this version.
        evaluation: Output of evaluate_model with its decision.
        registry: Folder of the registry.
        model_name: Name in the registry.
        version: Output of register_model.
        backend: Where it is released: local (the registry's champion alone) or kserve (an InferenceService).
        service: Name of the InferenceService.
        namespace: Where it lives; empty: where the step runs.
        storage: URI of the registry's folder as KServe reads it: pvc://, s3:// or KFP's minio://.
        mode: KServe's deployment mode: Standard or Knative.
        confidential: Resource id (kbs:///...) of the key of the bundles in `storage`; empty: they are not encrypted.

    Returns:
        result: Whether the champion changed.
        Output: The version that is served now.
    """
    from pathlib import Path

    from components.deploy_model import deploy as stage

    target = stage.kserve_target(model_name, service, namespace, storage, mode, confidential)
    release = stage.Release(registry=Path(registry), name=model_name, version=version, backend=backend, target=target)
    deployment = stage.deploy(release, Path(proof.path), Path(evaluation.path))
    result.log_metric("changed", float(deployment.changed))
    result.metadata.update({"version": deployment.version, "previous": deployment.previous})
    return deployment.version
