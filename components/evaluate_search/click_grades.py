"""Grades from clicks, for shops without judgments.

The grade of an item is its share of the best click rate of the query, times 3, and lower where there are few clicks:

    grade = 3 * rate / (best rate of the query) * M / (M + click_prior)
    rate  = clicks / (impressions + impression_prior), or clicks where the query has no impressions

M is the number of clicks of the query's most clicked item. Items at the top get more clicks whatever they are: with
positions, impressions are those that were examined (position_bias.py); without, such grades favour the search that
collected them.
"""

from collections.abc import Mapping

MAX_GRADE = 3.0
"""Grade of an item that has all clicks of a query with very many."""

Counts = tuple[float, float | None]
"""Clicks and impressions; the latter may be unknown."""


def click_grades(items: Mapping[str, Counts], impression_prior: float, click_prior: float) -> dict[str, float]:
    """Grades of the items of one query, 0 to below 3.

    Args:
        items: Item id -> clicks and impressions. Impressions below the clicks count as many as these. Unless all items
            have impressions, none are used.
        impression_prior: Impressions without a click that are added to every item.
        click_prior: M at which the highest grade is half of the maximum.
    """
    most = max((clicks for clicks, _ in items.values()), default=0.0)
    if not most:
        return dict.fromkeys(items, 0.0)
    shown = all(impressions is not None for _, impressions in items.values())
    rates = {
        name: clicks / (max(impressions or 0.0, clicks) + impression_prior) if shown and clicks else clicks
        for name, (clicks, impressions) in items.items()
    }
    scale = MAX_GRADE * most / (most + click_prior) / max(rates.values())
    return {name: rate * scale for name, rate in rates.items()}
