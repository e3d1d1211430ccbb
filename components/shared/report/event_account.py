"""From the rows of a source to the events of the features, so that the numbers add up."""

from collections.abc import Mapping

from components.shared.schema.account import Lost, TableAccount

DROPPED = {
    "duplicates_merged": "repeat another event",
    "robot_events_dropped": "of shoppers with too many events on a day",
    "orphan_events_dropped": "of items that are not in the catalog",
    "time_outliers_dropped": "far from all others in time",
}
"""Count of cleaning.json -> the events that it dropped."""

Step = tuple[str, int, str]
"""(what, rows, most common values); rows that leave are negative, and the steps between two totals add up to them."""


def event_steps(account: TableAccount | None, cleaning: Mapping[str, int] | None) -> list[Step]:
    """Every step from the rows of the source to the events that are used.

    Args:
        account: Of the events; None if the run did not ingest.
        cleaning: cleaning.json of build_features; None if it did not run.
    """
    steps: list[Step] = []
    if account:
        steps.append(("rows of the source", account.rows - account.added, ""))
        if account.added:
            steps.append(("more, from lists of items", account.added, ""))
        if account.ignored:
            steps.append(("left out by event_types of the mapping", -account.ignored.rows, _common(account.ignored)))
        steps += [(f"rejected: {reason}", -lost.rows, _common(lost)) for reason, lost in account.rejected.items()]
        steps.append(("events", account.kept, ""))
    if cleaning:
        if not account:
            steps.append(("events", cleaning["events_read"], ""))
        steps += [(f"dropped: {why}", -cleaning[rule], "") for rule, why in DROPPED.items() if cleaning.get(rule)]
        steps.append(("events for training", cleaning["events_kept"], ""))
    return steps


def _common(lost: Lost) -> str:
    return ", ".join(f"{value} ({rows:,})" for value, rows in lost.values.items())
