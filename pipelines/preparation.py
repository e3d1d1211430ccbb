"""From raw events to features: the three steps before the trainings of every pipeline that has some."""

# KFP turns annotated functions into task factories at import; a type checker still sees the functions.
# pyright: reportCallIssue=false, reportArgumentType=false

from typing import Any

from components.build_features.component import build_features
from components.ingest_events.component import ingest_events
from components.validate_data.component import validate_data
from pipelines import resources
from pipelines.resources import apply


def prepare(source: Any, size: Any, data: Any, features: Any, after: Any = None) -> tuple[Any, Any]:
    """Compose ingest, validation and features inside a pipeline; every argument is one of its parameters.

    Args:
        source: As ingest_events takes it.
        size: tiny, small or full.
        data: Section `data`.
        features: Section `features`.
        after: Task that must have ended well before anything is read; None: there is none.

    Returns:
        The artifacts of the features and of the data's statistics.
    """
    first = ingest_events(source=source, size=size, data=data)
    raw = apply(first.after(after) if after else first, resources.SOURCE).outputs
    tables = {name: raw[name] for name in ("events", "items", "users", "rejected")}
    valid = apply(validate_data(**tables, data=data), resources.DATA).outputs
    built = apply(
        build_features(
            events=raw["events"], items=raw["items"], statistics=valid["statistics"], size=size, options=features
        ),
        resources.DATA,
    ).outputs  # fmt: skip
    return built["features"], valid["statistics"]
