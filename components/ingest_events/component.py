"""KFP component of the ingest stage."""

from kfp.dsl import Dataset, Metrics, Output

from components.image_component import image_component
from components.shared.images import DATA_IMAGE


@image_component(DATA_IMAGE)
def ingest_events(
    source: str,
    size: str,
    events: Output[Dataset],
    items: Output[Dataset],
    users: Output[Dataset],
    rejected: Output[Dataset],
    summary: Output[Metrics],
    data: dict = {},  # noqa: B006 - KFP takes the default as a constant
    fingerprint: str = "",
):
    """Read a shop's raw events, items and users into the data contract; invalid rows are rejected.

    Args:
        source: `complete-journey`, or a file, folder, URI or glob of Parquet, CSV or JSON.
        size: tiny, small or full; sets the number of shoppers of complete-journey.
        data: Options of components/shared/schema/data_options.py, DataOptions; {}: contract column names, events only.
        fingerprint: Fingerprint of the files, for KFP's cache; the step does not read it.

    Returns:
        events: Parquet by day, schema EVENTS.
        items: Parquet, schema ITEMS, one row per item.
        users: Parquet, schema USERS, one row per user.
        rejected: Parquet of the rejected rows, each with its reason.
        summary: Rows kept and rejected.
    """
    from pathlib import Path

    from components.ingest_events import ingest as stage
    from components.shared.schema.data_options import DataOptions

    outputs = {"events": events, "items": items, "users": users, "rejected": rejected}
    options = DataOptions.read(data, "data")
    result = stage.ingest(
        source,
        stage.IngestOutputs(**{name: Path(artifact.path) for name, artifact in outputs.items()}),
        size,
        options.full_mapping(),
        options.items_source,
        options.users_source,
        stage.Reading.of(options.null_words, options.time_format),
        options.all_columns(),
    )
    for name, artifact in outputs.items():
        artifact.metadata.update(result.metadata(name))
    for name, value in result.metrics().items():
        summary.log_metric(name, value)
