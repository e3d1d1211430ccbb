"""KFP face of the register stage."""

from kfp import dsl
from kfp.dsl import Artifact, Input, Model, Output

from components.shared.images import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def register_model(
    compiled: Input[Model],
    evaluation: Input[Artifact],
    bundle: Output[Model],
    registry: str,
    model_name: str,
    signing_key: str,
    lineage: str = "",
    publish: str = "",
    storage: str = "pvc://shoprank-registry/registry",
) -> str:
    """Make a signed bundle of a compiled model and register it as the candidate.

    Args:
        compiled: Output of compile_model.
        evaluation: Output of evaluate_model; its metrics go into the manifest.
        registry: Folder of the registry, on a volume that all runs share.
        model_name: Name in the registry.
        signing_key: PEM file of the Ed25519 private key; created when it does not exist.
        lineage: JSON of {name: text}, such as the run and the data; empty for none.
        publish: Where else to make it known: oci:FOLDER, model-registry:URL (Kubeflow's), or empty.
        storage: URI of the registry's folder as KServe reads it, told there.

    Returns:
        bundle: The signed bundle.
        Output: Its version.
    """
    from pathlib import Path

    from components.register_model import register as stage

    config = stage.RegisterConfig(
        registry=Path(registry), name=model_name, signing_key=Path(signing_key), lineage=stage.parse_lineage(lineage)
    )
    result = stage.register(Path(compiled.path), Path(evaluation.path), Path(bundle.path), config)
    stage.publish(Path(bundle.path), config, publish, storage)
    bundle.metadata.update({"version": result.version, "bytes": result.bytes, "files": result.files})
    return result.version
