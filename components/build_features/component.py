"""KFP component of the feature stage."""

from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from components.image_component import image_component
from components.shared.images import DATA_IMAGE


@image_component(DATA_IMAGE)
def build_features(
    events: Input[Dataset],
    items: Input[Dataset],
    statistics: Input[Artifact],
    size: str,
    features: Output[Dataset],
    summary: Output[Metrics],
    options: dict = {},  # noqa: B006 - KFP takes the default as a constant
):
    """Clean the events and build vocabularies, histories, item statistics, training rows and the feature spec.

    Args:
        events: Output of ingest_events.
        items: Output of ingest_events.
        statistics: Output of validate_data; makes this step wait for the validation.
        size: tiny, small or full; sets the number of snapshots that the ranker is trained on.
        options: Options of components/build_features/config.py, FeatureOptions; {}: the defaults.

    Returns:
        features: Feature folder with spec.json, catalog, histories and rows of every split.
        summary: Rows of each split, vocabulary sizes, collisions of hashed ids and rows affected by cleaning.
    """
    from pathlib import Path

    from components.build_features import build as stage
    from components.build_features.config import FeatureOptions
    from components.shared.schema.sizes import size_named

    config = FeatureOptions.for_size(size_named(size), options)
    result = stage.build(Path(events.path), Path(items.path), Path(features.path), config)
    features.metadata.update(result.metadata())
    for name, value in result.metrics().items():
        summary.log_metric(name, value)
