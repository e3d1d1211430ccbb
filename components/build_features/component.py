"""KFP face of the build stage."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from components.shared.images import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def build_features(
    events: Input[Dataset],
    items: Input[Dataset],
    statistics: Input[Artifact],
    size: str,
    features: Output[Dataset],
    summary: Output[Metrics],
    item_hash_rows: int = 0,
    item_rows: int = 0,
    user_rows: int = 0,
):
    """Clean the events and build vocabularies, histories, item statistics, training rows and the feature spec.

    Args:
        events: Output of ingest_events.
        items: Output of ingest_events.
        statistics: Output of validate_data; asked for so that nothing is built from refused data.
        size: tiny, small or full; how many moments the ranker learns from.
        item_hash_rows: Rows that items beyond the vocabulary share by the hash of their id; 0: they are unknown.
        item_rows: At most this many items have an embedding row of their own, those seen most and latest; 0: all.
        user_rows: The same of shoppers.

    Returns:
        features: Feature folder with spec.json, catalog, histories and rows of every split.
        summary: Rows of each split, vocabulary sizes, collisions of hashed ids and what cleaning touched.
    """
    from pathlib import Path

    from components.build_features import build as stage

    config = stage.config_for(size, item_hash_rows, item_rows, user_rows)
    result = stage.build(Path(events.path), Path(items.path), Path(features.path), config)
    features.metadata.update(result.metadata())
    for name, value in result.metrics().items():
        summary.log_metric(name, value)
