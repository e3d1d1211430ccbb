"""Lone events far from all others in time, such as one with a wrong year: they must not set the timeline."""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from components.build_features.queries import count

_SHOWN = 3


@dataclass(frozen=True)
class TimeOutliers:
    """Dropped events.

    Attributes:
        events: number. days: some of their days, ISO 8601, with the number of events. first, last: days of the others.
    """

    events: int = 0
    days: tuple[tuple[str, int], ...] = ()
    first: str = ""
    last: str = ""

    def __str__(self) -> str:
        lying, are = ("1 event lies", "is") if self.events == 1 else (f"{self.events:,} events lie", "are")
        days = ", ".join(f"{day}: {events:,}" for day, events in self.days)
        return (
            f"{lying} apart from all others ({self.first} to {self.last}) in time and {are} dropped "
            f"(features.cleaning.time_outlier_share): {days}"
        )


def drop_time_outliers(database: duckdb.DuckDBPyConnection, share: float) -> TimeOutliers:
    """Delete events of table `clean` that a gap separates from the mass of the events.

    Args:
        database: With table `clean`.
        share: Most events on the far side of a gap, as a share of all; more are no outliers.
    """
    rows = database.execute(
        "SELECT timestamp::DATE AS day, date_diff('day', DATE '1970-01-01', day), count(*) FROM clean GROUP BY ALL "
        "ORDER BY 1"
    ).fetchall()
    start, end = mass([number for _, number, _ in rows], [events for _, _, events in rows], share)
    apart = [*rows[:start], *rows[end:]]
    if not apart:
        return TimeOutliers()
    first, last = (str(rows[at][0]) for at in (start, end - 1))
    before = count(database, "clean")
    database.execute("DELETE FROM clean WHERE timestamp::DATE < ?::DATE OR timestamp::DATE > ?::DATE", [first, last])
    shown = sorted(apart, key=lambda row: -row[2])[:_SHOWN]
    days = tuple((str(day), events) for day, _, events in shown)
    return TimeOutliers(before - count(database, "clean"), days, first, last)


def mass(days: Sequence[int], events: Sequence[int], share: float) -> tuple[int, int]:
    """The days of the mass of the events.

    From the day of the middle event the mass goes on to both sides until a gap that is longer than half the time
    between the first and the last twentieth of the events, and than a day, and that has no more than `share` of all
    events beyond it.

    >>> mass([0, 5_000, 5_001, 5_002, 5_003], [1, 50, 50, 50, 50], 0.01)
    (1, 5)

    Args:
        days: Day numbers, ascending.
        events: Events of each day.
        share: See drop_time_outliers.

    Returns:
        First day's position, and that after the last day.
    """
    total, passed, at = sum(events), 0, dict[float, int]()
    for position, amount in enumerate(events):
        passed += amount
        for quantile in (0.05, 0.5, 0.95):
            if quantile not in at and passed >= quantile * total:
                at[quantile] = position
    longest = max((days[at[0.95]] - days[at[0.05]]) / 2, 1)
    start, end = at[0.5], at[0.5] + 1
    before, after = sum(events[:start]), sum(events[end:])
    while start > 0 and not (days[start] - days[start - 1] > longest and before <= share * total):
        start -= 1
        before -= events[start]
    while end < len(days) and not (days[end] - days[end - 1] > longest and after <= share * total):
        after -= events[end]
        end += 1
    return start, end
