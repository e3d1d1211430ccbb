"""KFP face of the ingest stage."""

from kfp import dsl
from kfp.dsl import Dataset, Metrics, Output

from components.shared.images import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def ingest_events(
    source: str,
    size: str,
    events: Output[Dataset],
    items: Output[Dataset],
    users: Output[Dataset],
    rejected: Output[Dataset],
    summary: Output[Metrics],
    mapping: str = "",
    items_source: str = "",
    users_source: str = "",
):
    """Read a shop's raw events, items and users into the data contract; rows that do not fit are put aside.

    Args:
        source: `complete-journey`, or a file, folder or URI of Parquet, CSV or JSON Lines.
        size: tiny, small or full; how many shoppers of complete-journey are kept.
        mapping: JSON of {our column: their column}; empty: the columns have our names.
        items_source: File, folder or URI of the catalog; empty: the items that the events name.
        users_source: File, folder or URI of the users; empty: the users that the events name.

    Returns:
        events: Parquet by day, schema EVENTS.
        items: Parquet, schema ITEMS, one row an item.
        users: Parquet, schema USERS, one row a user.
        rejected: Parquet of the rows that were refused, each with its reason.
        summary: Rows kept and rejected.
    """
    from pathlib import Path

    from components.ingest_events import ingest as stage

    outputs = {"events": events, "items": items, "users": users, "rejected": rejected}
    result = stage.ingest(
        source,
        stage.IngestOutputs(**{name: Path(artifact.path) for name, artifact in outputs.items()}),
        size,
        stage.parse_mapping_text(mapping),
        items_source,
        users_source,
    )
    for name, artifact in outputs.items():
        artifact.metadata.update(result.metadata(name))
    for name, value in result.metrics().items():
        summary.log_metric(name, value)
