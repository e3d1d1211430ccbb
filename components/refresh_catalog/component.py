"""KFP component of the refresh stage."""

from kfp.dsl import Artifact, Metrics, Model, Output

from components.image_component import image_component
from components.shared.images import TRAIN_IMAGE


@image_component(TRAIN_IMAGE)
def refresh_catalog(
    items_source: str,
    registry: str,
    model_name: str,
    compiled: Output[Model],
    evaluation: Output[Artifact],
    summary: Output[Metrics],
    public_key: str = "",
    data: dict = {},  # noqa: B006 - KFP takes the default as a constant
):
    """Update the champion's catalog without training: new items, changed titles, prices and availability.

    Args:
        items_source: File, folder, URI or glob of Parquet, CSV or JSON.
        registry: Folder or s3:// URI of the registry.
        model_name: Name in the registry.
        public_key: Public key to verify the champion; without one, native code is not run.
        data: Options of components/shared/schema/data_options.py, DataOptions; {}: contract column names.

    Returns:
        compiled: Compiled model in the format of compile_model.
        evaluation: The champion's release decision, which also applies to this version.
        summary: Items added, changed and unchanged, and unknown categories and brands.
    """
    from pathlib import Path

    from components.refresh_catalog import refresh as stage

    bundle = stage.champion(registry, model_name)
    result = stage.refresh(bundle, items_source, Path(compiled.path), public_key, data)
    stage.blessing(bundle).write(Path(evaluation.path))
    for name, value in result.metrics().items():
        summary.log_metric(name, value)
