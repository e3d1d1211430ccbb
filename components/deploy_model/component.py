"""KFP component of the deploy stage."""

from kfp.dsl import Artifact, Input, Metrics, Output

from components.image_component import image_component
from components.shared.images import DATA_IMAGE


@image_component(DATA_IMAGE)
def deploy_model(
    proof: Input[Artifact],
    evaluation: Input[Artifact],
    registry: str,
    model_name: str,
    version: str,
    result: Output[Metrics],
    release: dict = {},  # noqa: B006 - KFP takes the default as a constant
) -> str:
    """Release a version that passed the release gates and the serving proof.

    Args:
        proof: Output of validate_serving for this version.
        evaluation: Output of evaluate_model with its decision.
        registry: Folder or s3:// URI of the registry.
        model_name: Name of the model in the registry.
        version: Output of register_model.
        release: Options of components/shared/release/config.py, ReleaseOptions: backend and the service.

    Returns:
        result: Whether the champion changed.
        Output: The served version.
    """
    from pathlib import Path

    from components.deploy_model import deploy as stage
    from components.shared.release.config import ReleaseOptions

    options = ReleaseOptions.read(release, "release")
    wanted = stage.Release(
        registry=registry, name=model_name, version=version, backend=options.backend,
        target=stage.kserve_target(model_name, options, registry),
    )  # fmt: skip
    deployment = stage.deploy(wanted, Path(proof.path), Path(evaluation.path))
    result.log_metric("changed", float(deployment.changed))
    result.metadata.update({"version": deployment.version, "previous": deployment.previous})
    return deployment.version
