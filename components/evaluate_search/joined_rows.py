"""Rows of judgments, clicks or queries: what of each is valid, joined by query and item."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

from components.evaluate_search.judgment_files import ALIASES, JudgmentRows, Row
from components.evaluate_search.position_bias import examined_positions
from components.shared.errors import InputError
from components.shared.schema.account import Lost, TableAccount
from components.shared.schema.identifiers import NULL_WORDS, identifier, trimmed

Kind = Literal["grades", "clicks", "queries"]
"""What a file holds: grades; clicks, which become grades; or queries alone."""

_SHOWN = 3
_LAST = 1_000_000
"""Largest position that is believed."""


class JoinedRows:
    """Rows of a kind, converted and joined by query and item.

    Args:
        kind: What the source holds.
        raw: Its rows.

    Attributes:
        items: query -> item id -> its grade, or position (0: not known) -> clicks and impressions there.
        repeated: see Judgments. conflicting: see Judgments.
    """

    def __init__(self, kind: Kind, raw: JudgmentRows):
        self._kind, self._raw, self._least = kind, raw, _needed(kind, raw)
        self._placed = "position" in self._least
        self._one_showing = self._placed and "impressions" not in raw.columns
        self._rejected: dict[str, Counter[str]] = defaultdict(Counter)
        self._kept = 0
        self.items: dict[str, dict[str, Any]] = {}
        self.repeated = self.conflicting = 0
        for row in raw.rows:
            self._add(row)

    def _add(self, row: Row) -> None:
        """Add a row, or count why it is not valid."""
        given = dict(zip(ALIASES, row, strict=True))
        asked = read_query(given["query"])
        if asked is None:
            return self._reject("query is missing", given["query"])
        if self._kind != "queries":
            name = read_identifier(given["item_id"])
            if name is None:
                return self._reject("item_id is missing", given["item_id"])
            numbers = {column: read_number(given[column]) for column in ("grade", "clicks", "impressions", "position")}
            for column, least in self._least.items():
                if problem := _problem(given[column], numbers[column], least, column == "position"):
                    return self._reject(f"{column} {problem}", given[column])
            self._join(self.items.setdefault(asked, {}), name, numbers)
        elif asked in self.items:
            self.repeated += 1
        self.items.setdefault(asked, {})
        self._kept += 1

    def _join(self, items: dict[str, Any], name: str, numbers: Mapping[str, float | None]) -> None:
        before = items.get(name)
        if self._kind == "clicks":
            shown, place = items.setdefault(name, {}), int(numbers["position"] or 0) * self._placed
            self.repeated += place in shown
            seen = 1.0 if self._one_showing else numbers["impressions"]
            clicks, earlier = shown.get(place, (0.0, 0.0))
            total = None if seen is None or seen < 0 or earlier is None else earlier + seen
            shown[place] = (clicks + (numbers["clicks"] or 0.0), total)
            return
        value = numbers["grade"] or 0.0
        self.repeated += before is not None
        self.conflicting += before is not None and before != value
        items[name] = value if before is None else max(before, value)

    def _reject(self, reason: str, value: Any) -> None:
        self._rejected[reason][str(value)[:80] if value not in (None, "") else ""] += 1

    def examined(self, source: str) -> dict[int, float] | None:
        """See Judgments.

        Raises:
            InputError: rows without impressions are no showings: an item has more clicks than rows, or all are clicked.
        """
        if not self._placed:
            return None
        pairs = {(query, name): shown for query, items in self.items.items() for name, shown in items.items()}
        counts = [(clicks, seen) for shown in pairs.values() for clicks, seen in shown.values()]
        if self._one_showing and any(clicks > seen for clicks, seen in counts):
            raise InputError(
                f"clicks '{source}' have positions and clicks above 1, but no column 'impressions'",
                "add how often the item was shown at the position; without it, each row is one showing",
            )
        if self._one_showing and all(clicks == seen for clicks, seen in counts):
            raise InputError(
                f"clicks '{source}' have positions, but only rows with a click",
                "add the rows that were shown and not clicked, or a column 'impressions'",
            )
        return examined_positions(pairs)

    def account(self) -> TableAccount:
        """What became of all rows of the source."""
        rejected, raw = {}, self._raw
        for reason, values in self._rejected.items():
            shown = {value: times for value, times in values.most_common(_SHOWN) if value}
            rejected[reason] = Lost(rows=values.total(), values=shown)
        rejected |= {reason: Lost(rows=lines) for reason, lines in raw.malformed.items()}
        return TableAccount(
            rows=len(raw.rows) + raw.malformed.total(), kept=self._kept, rejected=rejected, files=raw.files,
            skipped=dict(raw.skipped), skipped_names=raw.names,
        )  # fmt: skip


def _needed(kind: Kind, raw: JudgmentRows) -> dict[str, int]:
    """Numbers that every row must have, and the least that each may be."""
    if kind != "clicks":
        return {"grade": 0} if kind == "grades" else {}
    placed = {"position": 1} | ({"impressions": 0} if "impressions" in raw.columns else {})
    return {"clicks": 0} | (placed if "position" in raw.columns else {})


def _problem(given: Any, number: float | None, least: int, whole: bool) -> str:
    """What is wrong with a number of a row; '' if nothing."""
    if number is None or (whole and (number % 1 or number > _LAST)):
        return "is missing" if given in (None, "") else "cannot be read"
    return "" if number >= least else "is below 1" if least else "is negative"


def read_query(value: Any) -> str | None:
    """The query without blanks around it; None for a missing one. A query may be a word for a missing value."""
    text = trimmed(value) if isinstance(value, str) else identifier(value)
    return _whole(text) if isinstance(text, str) and text not in ("", "\\N") else None


def read_identifier(value: Any) -> str | None:
    """The id of an item or shopper as ingest_events reads it; None for a missing one."""
    name = identifier(value)
    return _whole(name) if isinstance(name, str) and name and name.lower() not in NULL_WORDS else None


def _whole(text: str) -> str:
    """A text without halves of characters, which JSON can escape and no encoding can write."""
    return text.encode("utf-8", "replace").decode("utf-8")


def read_number(value: Any) -> float | None:
    """A finite number; None for anything else."""
    if not isinstance(value, bool | int | float | Decimal | str):
        return None
    try:
        number = float(trimmed(value) if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
