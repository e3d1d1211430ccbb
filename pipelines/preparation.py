"""From raw events to features: the three steps before the trainings of every pipeline that has some."""

# KFP turns annotated functions into task factories at import; a type checker still sees the functions.
# pyright: reportCallIssue=false, reportArgumentType=false

from typing import Any

from components.build_features.component import build_features
from components.ingest_events.component import ingest_events
from components.validate_data.component import validate_data
from pipelines import resources
from pipelines.resources import apply


def prepare(
    source: Any, size: Any, mapping: Any, items_source: Any, users_source: Any, previous_statistics: Any,
    vocabulary: dict[str, Any], after: Any = None,
) -> tuple[Any, Any]:  # fmt: skip
    """Compose ingest, validation and features inside a pipeline; every argument is one of its parameters.

    Args:
        source: As ingest_events takes it.
        size: tiny, small or full.
        mapping: As ingest_events takes it.
        items_source: Likewise.
        users_source: Likewise.
        previous_statistics: As validate_data takes it.
        vocabulary: item_rows, user_rows and item_hash_rows of build_features.
        after: Task that must have ended well before anything is read; None: there is none.

    Returns:
        The artifacts of the features and of the data's statistics.
    """
    first = ingest_events(
        source=source, size=size, mapping=mapping, items_source=items_source, users_source=users_source
    )
    raw = apply(first.after(after) if after else first, resources.SOURCE).outputs
    valid = apply(
        validate_data(
            events=raw["events"], items=raw["items"], users=raw["users"], rejected=raw["rejected"],
            previous_statistics=previous_statistics,
        ),
        resources.DATA,
    ).outputs  # fmt: skip
    features = apply(
        build_features(
            events=raw["events"], items=raw["items"], statistics=valid["statistics"], size=size,
            **vocabulary,
        ),
        resources.DATA,
    ).outputs  # fmt: skip
    return features["features"], valid["statistics"]
