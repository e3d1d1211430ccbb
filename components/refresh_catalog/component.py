"""KFP face of the refresh stage."""

from kfp import dsl
from kfp.dsl import Artifact, Metrics, Model, Output

from components.shared.images import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def refresh_catalog(
    items_source: str,
    registry: str,
    model_name: str,
    compiled: Output[Model],
    evaluation: Output[Artifact],
    summary: Output[Metrics],
    public_key: str = "",
):
    """Give the champion today's catalog without training: new items, changed titles, prices and availability.

    Args:
        items_source: Parquet file or folder, or its URI, in the form that ingest_events writes its items.
        registry: Folder of the registry.
        model_name: Name in the registry.
        public_key: File of the key that must have signed the champion; empty: native code of a champion is not run.

    Returns:
        compiled: What compile_model would have written, for register_model.
        evaluation: The champion's blessing, which its model keeps.
        summary: Items added, changed and left as they were, and labels that the model does not know.
    """
    from pathlib import Path

    from components.refresh_catalog import refresh as stage

    bundle = stage.champion(Path(registry), model_name)
    result = stage.refresh(bundle, items_source, Path(compiled.path), public_key)
    stage.blessing(bundle).write(Path(evaluation.path))
    for name, value in result.metrics().items():
        summary.log_metric(name, value)
