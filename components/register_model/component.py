"""KFP component of the register stage."""

from kfp.dsl import Artifact, Input, Model, Output

from components.image_component import image_component
from components.shared.images import TRAIN_IMAGE


@image_component(TRAIN_IMAGE)
def register_model(
    compiled: Input[Model],
    evaluation: Input[Artifact],
    bundle: Output[Model],
    registry: str,
    model_name: str,
    signing_key: str,
    public_key: str = "",
    release: dict = {},  # noqa: B006 - KFP takes the default as a constant
) -> str:
    """Build a signed bundle of a compiled model and register it as the candidate.

    Args:
        compiled: Output of compile_model.
        evaluation: Output of evaluate_model; its metrics are stored in the manifest.
        registry: s3:// URI of the registry, or its folder on a volume that all runs share.
        model_name: Name in the registry.
        signing_key: PEM file of the Ed25519 private key; it must exist (`shoprank keys create`).
        public_key: PEM file of the public key that predictors trust; empty: not compared.
        release: Options of components/shared/release/config.py, ReleaseOptions: lineage, search, publish, storage.

    Returns:
        bundle: The signed bundle.
        Output: Its version.
    """
    from pathlib import Path

    from components.register_model import register as stage
    from components.shared.release.config import ReleaseOptions

    options = ReleaseOptions.read(release, "release")
    config = stage.RegisterConfig(
        registry=registry, name=model_name, signing_key=Path(signing_key), lineage=options.lineage,
        public_key=Path(public_key) if public_key else None, search=options.search,
    )  # fmt: skip
    result = stage.register(Path(compiled.path), Path(evaluation.path), Path(bundle.path), config)
    stage.publish(Path(bundle.path), config, options.publish, options.storage_of(registry))
    bundle.metadata.update({"version": result.version, "bytes": result.bytes, "files": result.files, **result.search})
    return result.version
