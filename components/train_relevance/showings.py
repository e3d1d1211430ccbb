"""Answers that known shoppers were shown, from a file of clicks with shoppers and times."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from components.evaluate_search.joined_rows import read_identifier, read_number, read_query
from components.evaluate_search.judgment_files import ALIASES, read_judgment_rows
from components.shared.errors import InputError
from components.shared.recommender.blending import log_odds
from components.shared.recommender.candidates import Source, merge
from components.shared.recommender.recommender import Recommender, target_probability

_TOGETHER = 64


@dataclass(frozen=True)
class Showing:
    """An answer that a shopper was shown.

    Attributes:
        query: What was searched. user: Shopper index of the bundle. time: Epoch seconds.
        item: int64 [n], distinct catalog rows.
        clicks: float64 [n].
        position: int64 [n], from 1; 0: not known.
    """

    query: str
    user: int
    time: int
    item: np.ndarray
    clicks: np.ndarray
    position: np.ndarray


def read_showings(source: str, recommender: Recommender) -> list[Showing] | None:
    """Answers with a click to shoppers of a bundle, after the data that its models learned from.

    Rows of the same query, shopper and time are one answer.

    Args:
        source: File, folder, URI or glob of clicks; see read_judgments.
        recommender: Of the bundle.

    Returns:
        None if the source lacks the columns clicks, user_id or timestamp.

    Raises:
        InputError: the source cannot be read, or no time.
    """
    raw = read_judgment_rows(source)
    if not {"clicks", "user_id", "timestamp"} <= raw.columns:
        return None
    answers: dict[tuple[str, int, int], dict[int, tuple[float, int]]] = {}
    timed = False
    for row in raw.rows:
        given = dict(zip(ALIASES, row, strict=True))
        time, query, clicks = read_time(given["timestamp"]), read_query(given["query"]), read_number(given["clicks"])
        timed |= time is not None
        user = recommender.user_row.get(read_identifier(given["user_id"]) or "", 0)
        item = recommender.catalog.row_of.get(read_identifier(given["item_id"]) or "", 0)
        if time is None or query is None or clicks is None or clicks < 0:
            continue
        if not user or not item or time < recommender.spec.as_of:
            continue
        shown = answers.setdefault((query, user, int(time)), {})
        shown[item] = (shown.get(item, (0.0, 0))[0] + clicks, int(read_number(given["position"]) or 0))
    if not timed:
        raise InputError(
            f"no timestamp of '{source}' can be read",
            "give seconds since 1970, or times such as 2026-06-01T08:00:00Z; or leave the column out",
        )
    return [_showing(*key, shown) for key, shown in answers.items() if any(clicks for clicks, _ in shown.values())]


def _showing(query: str, user: int, time: int, shown: Mapping[int, tuple[float, int]]) -> Showing:
    item = np.array(sorted(shown), np.int64)
    clicks, position = zip(*(shown[row] for row in item.tolist()), strict=True)
    return Showing(query, user, time, item, np.array(clicks), np.array(position, np.int64))


def read_time(value: Any) -> float | None:
    """Epoch seconds of a time, number or text (seconds, or ISO 8601; UTC unless it says otherwise); None for others."""
    number = read_number(value)
    if number is None and isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return number
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()


def shopper_log_odds(recommender: Recommender, showings: list[Showing]) -> list[np.ndarray | None]:
    """Log-odds of a target event by the ranker of a bundle, for the shoppers of showings and as of their times.

    Returns:
        float64 [n] for each showing, in the order of its items; None for a shopper without an event before.
    """
    found: list[np.ndarray | None] = []
    for start in range(0, len(showings), _TOGETHER):
        part = showings[start : start + _TOGETHER]
        users, times = np.array([one.user for one in part]), np.array([one.time for one in part])
        histories = recommender.store.before(users, times, recommender.spec.max_history)
        row, item = np.repeat(np.arange(len(part)), [len(one.item) for one in part]), [one.item for one in part]
        chosen = merge([(row, np.concatenate(item), Source(0))], len(recommender.catalog), None)
        queries = [recommender.understood(one.query) for one in part]
        batch = recommender.candidates(histories, queries, chosen=chosen)
        rankings = recommender.ranked([batch], [len(one.item) for one in part])
        for known, ranking in zip(batch.known.tolist(), rankings, strict=True):
            odds = log_odds(target_probability(ranking.tasks, ranking.dense))[np.argsort(ranking.item)]
            found.append(odds if known else None)
    return found
