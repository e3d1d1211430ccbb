"""From raw events to features: the three steps that precede training and tuning."""

# KFP turns annotated functions into task factories at import; a type checker still sees the functions.
# pyright: reportCallIssue=false, reportArgumentType=false

from typing import Any

from components.build_features.component import build_features
from components.ingest_events.component import ingest_events
from components.validate_data.component import validate_data
from pipelines import resources
from pipelines.resources import apply


def prepare(source: Any, size: Any, data: Any, features: Any, checked: Any) -> tuple[Any, Any]:
    """Add ingest_events, validate_data and build_features to a pipeline.

    Args:
        source: Source of ingest_events.
        size: tiny, small or full.
        data: Section `data`.
        features: Section `features`.
        checked: Task of check_parameters, which fingerprints the files before they are read.

    Returns:
        The artifacts of the features and of the data's statistics.
    """
    files = checked.outputs
    first = ingest_events(source=source, size=size, data=data, fingerprint=files["ingest_events"])
    raw = apply(first, resources.SOURCE).outputs
    tables = {name: raw[name] for name in ("events", "items", "users", "rejected")}
    valid = apply(validate_data(**tables, data=data, fingerprint=files["validate_data"]), resources.SOURCE).outputs
    built = apply(
        build_features(
            events=raw["events"], items=raw["items"], statistics=valid["statistics"], size=size, options=features
        ),
        resources.DATA,
    ).outputs  # fmt: skip
    return built["features"], valid["statistics"]
