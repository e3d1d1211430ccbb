"""KFP component of the validation stage."""

from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Output

from components.image_component import image_component
from components.shared.images import DATA_IMAGE


@image_component(DATA_IMAGE)
def validate_data(
    events: Input[Dataset],
    items: Input[Dataset],
    users: Input[Dataset],
    rejected: Input[Dataset],
    statistics: Output[Artifact],
    report: Output[HTML],
    summary: Output[Metrics],
    data: dict = {},  # noqa: B006 - KFP takes the default as a constant
    fingerprint: str = "",
):
    """Check the ingested tables against the rules; an error stops the pipeline after the report was written.

    Args:
        events: Output of ingest_events.
        items: Output of ingest_events.
        users: Output of ingest_events.
        rejected: Output of ingest_events.
        data: Options of components/shared/schema/data_options.py, DataOptions; only its validation is read.
        fingerprint: Fingerprint of the earlier run's statistics, for KFP's cache; the step does not read it.

    Returns:
        statistics: Folder with statistics.json: every column's profile, the drift baseline, and the findings.
        report: Page with the findings and plots.
        summary: Rows and warnings.
    """
    from pathlib import Path

    from components.shared.schema.data_options import DataOptions
    from components.validate_data import validate as stage

    options = DataOptions.read(data, "data").validation
    result = stage.validate(
        Path(events.path),
        Path(items.path),
        Path(users.path),
        Path(statistics.path),
        Path(report.path),
        options=options,
        rejected=Path(rejected.path),
    )
    statistics.metadata.update(result.metadata())
    for name, value in result.metrics().items():
        summary.log_metric(name, value)
